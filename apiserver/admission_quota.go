package apiserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"github.com/inboard/inboard/internal/quota"
	"github.com/inboard/inboard/store"
)

var resourceQuotasResource = corev1.SchemeGroupVersion.WithResource("resourcequotas")

// resourceQuota charges what is about to be stored to the quotas of its namespace. The quotas' new state is
// written in the transaction that stores the object, on the condition that they are as they were seen: so
// no two writes can share what is left, and none is charged that is not stored.
func (s *Server) resourceQuota(ctx context.Context, r *AdmissionRequest) error {
	res := s.base.byResource[resourceQuotasResource]
	gr := r.Ref.GroupResource()
	if res == nil || r.Object == nil || r.Ref.Namespace == "" || quota.Ignored(gr) || !charges(r) {
		return nil
	}
	prefix := res.scope(r.Ref.Namespace)
	all, err := s.store.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), SkipCount: true})
	if err != nil {
		return storeError(err, 0)
	}
	if len(all.Entries) == 0 {
		return nil
	}
	c := &charge{r: r, now: s.now}
	for _, e := range all.Entries {
		obj, err := res.object(e)
		if err != nil {
			return err
		}
		if q, ok := obj.(*corev1.ResourceQuota); ok {
			if err := c.match(q, e.ModRevision); err != nil {
				return err
			}
		}
	}
	for _, m := range c.matched {
		q, err := c.to(m.quota)
		if err != nil {
			return err
		}
		if q == nil {
			continue
		}
		value, err := res.encode(q)
		if err != nil {
			return internalError(err)
		}
		key := quotaKey(q)
		r.guards = append(r.guards, guard{key, m.revision})
		r.writes = append(r.writes, store.OpPut(key, value))
	}
	return nil
}

func quotaKey(q *corev1.ResourceQuota) string {
	return keyRoot + "core/resourcequotas/" + q.Namespace + "/" + q.Name
}

// charges tells whether a write may change what quotas count.
func charges(r *AdmissionRequest) bool {
	switch sub := r.Ref.Subresource; obj := r.Object.(type) {
	case *corev1.Pod:
		if sub == "resize" {
			return r.Operation == Update
		}
		old, ok := r.Old.(*corev1.Pod)
		return sub == "" && (r.Operation == Create || ok && quota.Terminating(old) != quota.Terminating(obj))
	case *corev1.PersistentVolumeClaim:
		return (sub == "" || sub == "status") && (r.Operation == Create || r.Operation == Update)
	case *corev1.Service:
		return sub == "" && (r.Operation == Create || r.Operation == Update)
	default:
		return sub == "" && r.Operation == Create
	}
}

// charge is one write that is charged to the quotas which it matches.
type charge struct {
	r       *AdmissionRequest
	now     func() time.Time
	matched []matchedQuota
}

type matchedQuota struct {
	quota    *corev1.ResourceQuota
	revision int64
}

// match keeps a quota that the object is to be charged to, and refuses what it does not allow whatever is
// left.
func (c *charge) match(q *corev1.ResourceQuota, revision int64) error {
	names := quota.Matching(c.r.Ref.GroupResource(), q.Status.Hard)
	in, err := quota.InScope(q, c.r.Object)
	if err != nil || !in {
		return err
	}
	if len(names) == 0 {
		if len(quota.Matching(c.r.Ref.GroupResource(), q.Spec.Hard)) > 0 {
			// It begins to be charged with the next write of its status, which must not fall between
			// this decision and the commit.
			c.r.guards = append(c.r.guards, guard{quotaKey(q), revision})
		}
		return nil
	}
	if pod, ok := c.r.Object.(*corev1.Pod); ok {
		if missing := quota.Missing(pod, names); len(missing) > 0 {
			return fmt.Errorf("failed quota: %s: must specify %s", q.Name, tellMissing(missing))
		}
	}
	for _, name := range names {
		if _, ok := q.Status.Used[name]; !ok {
			return fmt.Errorf("status unknown for quota: %s, resources: %s", q.Name, tellNames(names))
		}
	}
	c.matched = append(c.matched, matchedQuota{q, revision})
	return nil
}

// to returns the state of a quota with the object charged to it; nil when that changes nothing.
func (c *charge) to(q *corev1.ResourceQuota) (*corev1.ResourceQuota, error) {
	gr := c.r.Ref.GroupResource()
	delta := quota.Usage(gr, c.r.Object, c.now())
	for name, amount := range delta {
		if amount.Sign() < 0 {
			return nil, fmt.Errorf("quota usage is negative for resource(s): %s", name)
		}
	}
	if c.r.Old != nil {
		before, err := quota.InScope(q, c.r.Old)
		if err != nil {
			return nil, err
		}
		if before {
			delta = quota.Growth(delta, quota.Usage(gr, c.r.Old, c.now()))
		}
	}
	delta = quota.Mask(delta, q.Status.Hard)
	maps.DeleteFunc(delta, func(_ corev1.ResourceName, amount apiresource.Quantity) bool { return amount.IsZero() })
	if len(delta) == 0 {
		return nil, nil
	}
	after := quota.Add(q.Status.Used, delta)
	if exceeded := over(quota.Mask(after, delta), q.Status.Hard); len(exceeded) > 0 && c.r.Ref.Subresource != "status" {
		return nil, fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s", q.Name,
			tellList(quota.Mask(delta, exceeded)), tellList(quota.Mask(q.Status.Used, exceeded)), tellList(quota.Mask(q.Status.Hard, exceeded)))
	}
	charged := q.DeepCopy()
	charged.Status.Used = after
	return charged, nil
}

// over returns the names of which a has more than b allows.
func over(a, b corev1.ResourceList) map[corev1.ResourceName]bool {
	out := map[corev1.ResourceName]bool{}
	for name, limit := range b {
		if have, ok := a[name]; ok && have.Cmp(limit) > 0 {
			out[name] = true
		}
	}
	return out
}

func tellMissing(missing map[corev1.ResourceName][]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		containers := slices.Clone(missing[name])
		slices.Sort(containers)
		parts = append(parts, fmt.Sprintf("%s for: %s", name, strings.Join(slices.Compact(containers), ",")))
	}
	return strings.Join(parts, "; ")
}

func tellNames(names []corev1.ResourceName) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = string(name)
	}
	return strings.Join(parts, ",")
}

func tellList(list corev1.ResourceList) string {
	var parts []string
	each(list, func(name corev1.ResourceName, amount apiresource.Quantity) {
		parts = append(parts, string(name)+"="+amount.String())
	})
	return strings.Join(parts, ",")
}
