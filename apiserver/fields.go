package apiserver

import (
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/managed"
)

// newManagers returns who keeps the managed fields of a kind, by subresource; "" is the object itself.
// The kind is member i of a family of versions.
func newManagers(k *Kind, family *managed.Family, i int) map[string]*managed.Manager {
	t := family.Member(i)
	out := map[string]*managed.Manager{}
	if k.Status {
		out[""] = managed.NewManager(t, "", append([]string{"status"}, k.Resets...)...)
		out["status"] = managed.NewManager(t, "status", append([]string{"spec"}, k.StatusResets...)...)
	} else {
		out[""] = managed.NewManager(t, "", k.Resets...)
	}
	if k.Scale != nil {
		scale := managed.NewType(managed.Kind{GroupVersionKind: scaleKind, Object: &autoscalingv1.Scale{}})
		out["scale"] = managed.NewManager(scale, "scale")
	}
	for name, sub := range k.Subresources {
		switch {
		case len(sub.Only) > 0:
			out[name] = managed.NewPartManager(t, name, sub.Only...)
		case sub.Merge != nil:
			out[name] = managed.NewManager(t, name, sub.Resets...)
		}
	}
	return out
}

// track sets the managed fields of what a write makes of live, before admission and the row have their
// say, as in Kubernetes. The managed fields stay what they were when they can't be told.
func (s *Server) track(rq *request, live, obj client.Object) {
	if rq.applied {
		return
	}
	if err := rq.track(live, obj); err != nil {
		s.cfg.Logger.Warn("managed fields can't be kept", "object", rq.ref.String(), "error", err)
		obj.SetManagedFields(live.GetManagedFields())
	}
}

// track compares the objects in the version that the request is in, as its manager's entry is in it.
func (rq *request) track(live, obj client.Object) error {
	served := rq.served()
	manager := served.managers[rq.ref.Subresource]
	if served == rq.res || rq.ref.Subresource == "scale" {
		return manager.Update(live, obj, rq.manager)
	}
	before, err := served.shown(live)
	if err != nil {
		return err
	}
	after, err := served.shown(obj)
	if err != nil {
		return err
	}
	if err := manager.Update(before, after, rq.manager); err != nil {
		return err
	}
	obj.SetManagedFields(after.GetManagedFields())
	return nil
}

// keepTimes takes the times of an object's managed fields from its old state, if nothing else about
// them differs. It tells whether that changed a time, and returns what undoes it.
func keepTimes(obj, old client.Object) (restore func(), changed bool) {
	fields, before := obj.GetManagedFields(), old.GetManagedFields()
	if len(fields) != len(before) {
		return nil, false
	}
	kept := make([]metav1.ManagedFieldsEntry, len(fields))
	for i := range fields {
		kept[i] = fields[i]
		kept[i].Time = before[i].Time
		if !reflect.DeepEqual(kept[i], before[i]) {
			return nil, false
		}
		changed = changed || !sameSecond(fields[i].Time, before[i].Time)
	}
	if changed {
		obj.SetManagedFields(kept)
	}
	return func() { obj.SetManagedFields(fields) }, changed
}

// sameSecond compares times as precisely as they are stored.
func sameSecond(a, b *metav1.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Truncate(time.Second).Equal(b.Truncate(time.Second))
}

// scaleFields carries managed fields between an object and its scale subresource.
type scaleFields struct{ handler *managedfields.ScaleHandler }

func newScaleFields(r *resource, obj client.Object) scaleFields {
	paths := r.Scale.Paths
	if paths == nil {
		paths = managedfields.ResourcePathMappings{r.gvr.GroupVersion().String(): fieldpath.MakePathOrDie("spec", "replicas")}
	}
	return scaleFields{managedfields.NewScaleHandler(obj.GetManagedFields(), r.gvr.GroupVersion(), paths)}
}

// scale returns the Scale of an object with the managed fields that concern it.
func (f scaleFields) scale(r *resource, obj client.Object) (*autoscalingv1.Scale, error) {
	scale := scaleOf(r, obj)
	var err error
	scale.ManagedFields, err = f.handler.ToSubresource()
	return scale, err
}

// agentName returns the field manager of a client that names none: how its user agent begins.
func agentName(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, "/")
	return printable(name)
}

// userName returns the field manager of a client in the same process that names none: the component that
// the user is, as its user agent would tell over HTTP.
func userName(user *Identity) string {
	if strings.HasPrefix(user.User, "system:node:") {
		return "kubelet"
	}
	if strings.HasPrefix(user.User, "system:serviceaccount:kube-system:") {
		return "kube-controller-manager" // whose controllers have a service account each
	}
	return printable(user.User[strings.LastIndexByte(user.User, ':')+1:])
}

// printable makes a valid name of a field manager.
func printable(name string) string {
	var b strings.Builder
	for _, r := range name {
		if !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > metavalidation.FieldManagerMaxLength {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
