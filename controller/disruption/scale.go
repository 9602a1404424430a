package disruption

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// errNoScale is the error of pods whose owner tells no scale. To ask again changes nothing.
var errNoScale = errors.New("no scale")

// noScale is an errNoScale with Kubernetes' words.
type noScale string

func (e noScale) Error() string        { return string(e) }
func (e noScale) Is(target error) bool { return target == errNoScale }

// owners finds how many pods the owners of pods want.
type owners struct {
	client      client.Interface
	resources   controller.Resources
	sets        *controller.View[*appsv1.ReplicaSet]
	deployments *controller.View[*appsv1.Deployment]
}

// owner is what scales a pod.
type owner struct {
	uid      types.UID
	replicas int32
}

// scale returns how many pods the owners of pods want together, and the number of pods without an owner.
func (o *owners) scale(ctx context.Context, pods []*corev1.Pod) (total int32, unmanaged int, err error) {
	asked := map[types.UID]bool{}
	scales := map[types.UID]int32{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			unmanaged++
			continue
		}
		if asked[ref.UID] {
			continue
		}
		asked[ref.UID] = true
		found, err := o.find(ctx, ref, p.Namespace)
		if err != nil {
			return 0, 0, err
		}
		if found == nil {
			return 0, 0, noScale(fmt.Sprintf("found no controllers for pod %q", p.Name))
		}
		scales[found.uid] = found.replicas
	}
	for _, n := range scales {
		total += n
	}
	return total, unmanaged, nil
}

// find returns the owner that ref leads to, for a ReplicaSet its Deployment; nil when it is gone.
func (o *owners) find(ctx context.Context, ref *metav1.OwnerReference, namespace string) (*owner, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	if gv.Group == appsv1.GroupName && ref.Kind == "ReplicaSet" {
		if found := o.replicaSet(ref, namespace); found != nil {
			return found, nil
		}
	}
	gvr, err := o.resource(ctx, gv.WithKind(ref.Kind))
	if err != nil {
		return nil, err
	}
	return o.ask(ctx, client.Ref{GroupVersionResource: gvr, Namespace: namespace, Name: ref.Name, Subresource: "scale"}, ref.UID)
}

func (o *owners) replicaSet(ref *metav1.OwnerReference, namespace string) *owner {
	rs, ok := o.sets.Get(namespace, ref.Name)
	if !ok || rs.UID != ref.UID {
		return nil
	}
	up := metav1.GetControllerOfNoCopy(rs)
	if up == nil || up.Kind != "Deployment" {
		return &owner{rs.UID, replicas(rs.Spec.Replicas)}
	}
	if d, ok := o.deployments.Get(namespace, up.Name); ok && d.UID == up.UID {
		return &owner{d.UID, replicas(d.Spec.Replicas)}
	}
	return nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// resource returns the resource of a kind. Kubernetes' own are not asked for: their names are regular.
func (o *owners) resource(ctx context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	switch gvk.Group {
	case "", "apps", "batch":
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		return plural, nil
	}
	known, err := o.resources(ctx)
	for _, r := range known {
		if r.Group == gvk.Group && r.Kind == gvk.Kind {
			return r.GroupVersionResource, nil
		}
	}
	if err != nil {
		return schema.GroupVersionResource{}, fmt.Errorf("look for %s: %w", gvk.GroupKind(), err)
	}
	return schema.GroupVersionResource{}, noScale((&meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}).Error())
}

// ask reads a scale from the API; nil when there is no such object any more.
func (o *owners) ask(ctx context.Context, ref client.Ref, uid types.UID) (*owner, error) {
	obj, err := o.client.Get(ctx, ref, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && !tellsOfObject(err):
		return nil, noScale(ref.GroupResource().String() + " does not implement the scale subresource")
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the scale of %s %s: %w", ref.GroupResource(), ref.Name, err)
	}
	scale, ok := obj.(*autoscalingv1.Scale)
	if !ok {
		return nil, fmt.Errorf("the scale of %s %s is a %T", ref.GroupResource(), ref.Name, obj)
	}
	if scale.UID != uid {
		return nil, nil
	}
	return &owner{uid, scale.Spec.Replicas}, nil
}

// tellsOfObject tells a missing object from a path that the server does not serve, whose answer names nothing,
// or none that the client understood.
func tellsOfObject(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	d := status.Status().Details
	return d != nil && d.Name != "" && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
