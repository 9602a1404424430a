package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

var priorityClassesResource = schedulingv1.SchemeGroupVersion.WithResource("priorityclasses")

// The priority classes that every cluster has. A server that serves the kind makes them, in Run; pods
// may name them in any case.
var systemPriorities = map[string]int32{
	"system-cluster-critical": 2_000_000_000,
	"system-node-critical":    2_000_001_000,
}

var systemPriorityUses = map[string]string{
	"system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
	"system-node-critical":    "Used for system critical pods that must not be moved from their current node.",
}

// ensurePriorityClasses makes the system's classes unless they exist or their kind is not served.
func (s *Server) ensurePriorityClasses(ctx context.Context) error {
	res := s.base.byResource[priorityClassesResource]
	if res == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(systemPriorities)) {
		if obj, _, err := s.lookup(ctx, res, "", name); err != nil {
			return err
		} else if obj != nil {
			continue
		}
		class := &schedulingv1.PriorityClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Value: systemPriorities[name], Description: systemPriorityUses[name],
		}
		if _, err := s.systemCreate(ctx, client.Ref{GroupVersionResource: priorityClassesResource}, class); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// defaultClassClaim is written with each class that becomes the default, on the condition that nobody wrote it since
// there was none. Whether there is one the classes tell, so nothing gives it back.
const defaultClassClaim = claimRoot + "defaultpriorityclass"

// keepPriorityClasses refuses to delete the system's classes, and lets one class be the default.
func (s *Server) keepPriorityClasses(ctx context.Context, r *AdmissionRequest) error {
	if r.Ref.GroupVersionResource != priorityClassesResource {
		return nil
	}
	if _, system := systemPriorities[r.Ref.Name]; system && r.Operation == Delete {
		return errors.New("this is a system priority class and cannot be deleted")
	}
	class, ok := r.Object.(*schedulingv1.PriorityClass)
	if !ok || !class.GlobalDefault || r.Operation != Create && r.Operation != Update {
		return nil
	}
	claim, _, err := s.store.Get(ctx, defaultClassClaim) // before the classes, so that none slips in between
	if err != nil {
		return storeError(err, 0)
	}
	other, err := s.defaultPriorityClass(ctx)
	if err != nil {
		return err
	}
	if other != nil && (r.Operation == Create || other.Name != class.Name) {
		return fmt.Errorf("PriorityClass %v is already marked as default. Only one default can exist", other.Name)
	}
	if old, ok := r.Old.(*schedulingv1.PriorityClass); ok && old.GlobalDefault {
		return nil // it stays what it was
	}
	var revision int64
	if claim != nil {
		revision = claim.ModRevision
	}
	r.guards = append(r.guards, guard{defaultClassClaim, revision})
	r.writes = append(r.writes, store.OpPut(defaultClassClaim, []byte(class.Name)))
	return nil
}

// defaultPriorityClass returns the class of pods that name none, shared and read-only; nil when there is
// none. Should there be two, it is the lower one.
func (s *Server) defaultPriorityClass(ctx context.Context) (*schedulingv1.PriorityClass, error) {
	res := s.base.byResource[priorityClassesResource]
	if res == nil {
		return nil, nil
	}
	all, err := s.store.Range(ctx, store.Range{Key: res.prefix, End: store.PrefixEnd(res.prefix), SkipCount: true})
	if err != nil {
		return nil, storeError(err, 0)
	}
	var found *schedulingv1.PriorityClass
	for _, e := range all.Entries {
		obj, err := res.object(e)
		if err != nil {
			return nil, err
		}
		if class, ok := obj.(*schedulingv1.PriorityClass); ok && class.GlobalDefault && (found == nil || found.Value > class.Value) {
			found = class
		}
	}
	return found, nil
}

// priority computes the priority of a new pod or pod group from its class.
func (s *Server) priority(ctx context.Context, r *AdmissionRequest) error {
	if r.Operation != Create || r.Ref.Subresource != "" {
		return nil
	}
	if group, ok := r.Object.(*schedulingv1beta1.PodGroup); ok {
		return s.groupPriority(ctx, r, &group.Spec)
	}
	pod, ok := r.Object.(*corev1.Pod)
	if !ok {
		return nil
	}
	if pod.Spec.PriorityClassName == "" {
		class, err := s.defaultPriorityClass(ctx)
		if err != nil {
			return err
		}
		if class != nil {
			pod.Spec.PriorityClassName = class.Name
		}
	}
	value, policy, err := priorityOf(r, pod.Spec.PriorityClassName)
	if err != nil {
		return err
	}
	if p := pod.Spec.Priority; p != nil && *p != value {
		return fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *p, value)
	}
	if p := pod.Spec.PreemptionPolicy; p != nil && *p != policy {
		return fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *p, policy)
	}
	pod.Spec.Priority, pod.Spec.PreemptionPolicy = &value, &policy
	return nil
}

func (s *Server) groupPriority(ctx context.Context, r *AdmissionRequest, spec *schedulingv1beta1.PodGroupSpec) error {
	if spec.PriorityClassName == "" {
		class, err := s.defaultPriorityClass(ctx)
		if err != nil {
			return err
		}
		if class != nil {
			spec.PriorityClassName = class.Name
		}
	}
	value, _, err := priorityOf(r, spec.PriorityClassName)
	if err != nil {
		return err
	}
	if p := spec.Priority; p != nil && *p != value {
		return fmt.Errorf("priority set in the pod group (%d) must match the priority computed (%d) based on the priority class set in the spec", *p, value)
	}
	spec.Priority = &value
	return nil
}

func priorityOf(r *AdmissionRequest, class string) (int32, corev1.PreemptionPolicy, error) {
	if class == "" {
		return 0, corev1.PreemptLowerPriority, nil
	}
	if value, ok := systemPriorities[class]; ok {
		return value, corev1.PreemptLowerPriority, nil
	}
	obj, ok, err := r.Lookup(client.Ref{GroupVersionResource: priorityClassesResource, Name: class})
	if err != nil {
		return 0, "", err
	}
	pc, isClass := obj.(*schedulingv1.PriorityClass)
	if !ok || !isClass {
		return 0, "", fmt.Errorf("no PriorityClass with name %v was found", class)
	}
	policy := corev1.PreemptLowerPriority
	if pc.PreemptionPolicy != nil {
		policy = *pc.PreemptionPolicy
	}
	return pc.Value, policy, nil
}
