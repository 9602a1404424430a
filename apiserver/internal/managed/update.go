package managed

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/inboard/inboard/apiserver/client"
)

// maxUpdaters is how many entries of updates the library keeps before it merges the oldest.
const maxUpdaters = 10

// quick does what the library's Update does, where that is easy: the object's managed fields are those
// of live, all in the kind's version. Done false leaves the work to the library.
func (m *Manager) quick(live, obj client.Object, manager string) (done bool) {
	p, err := m.plan()
	if err != nil {
		return false
	}
	entries := live.GetManagedFields()
	if own := obj.GetManagedFields(); len(own) > 0 && !sameEntries(own, entries) || own != nil && len(own) == 0 {
		return false
	}
	if len(entries) == 0 && live.GetUID() != "" {
		obj.SetManagedFields(nil) // nobody has tracked the fields from the start
		return true
	}
	d, err := p.compare(reflect.ValueOf(live), reflect.ValueOf(obj))
	if err != nil {
		return false
	}
	out, ok := m.change(entries, d, cmp.Or(manager, "unknown"))
	if ok {
		obj.SetManagedFields(out)
	}
	return ok
}

// sameEntries tells that managed fields are those of live, as clients send them that do not touch them.
func sameEntries(a, b []metav1.ManagedFieldsEntry) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.ManagedFieldsEntry) bool {
		return x.FieldsV1 != nil && y.FieldsV1 != nil && x.FieldsV1.Equal(*y.FieldsV1) &&
			x.Time.Equal(y.Time) && sameManager(&x, &y)
	})
}

func sameManager(x, y *metav1.ManagedFieldsEntry) bool {
	return x.Manager == y.Manager && x.Operation == y.Operation && x.APIVersion == y.APIVersion &&
		x.FieldsType == y.FieldsType && x.Subresource == y.Subresource
}

// change returns the entries after manager made a difference. It is not ok if that takes the library.
func (m *Manager) change(entries []metav1.ManagedFieldsEntry, d difference, manager string) (out []metav1.ManagedFieldsEntry, ok bool) {
	if d.changed == nil && d.removed == nil {
		return entries, true
	}
	own := metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: m.apiVersion,
		FieldsType: "FieldsV1", Subresource: m.subresource,
	}
	if len(entries) >= maxUpdaters {
		return nil, false
	}
	changed, err := m.sets.set(d.changed)
	if err != nil {
		return nil, false
	}
	removed, err := m.sets.set(d.removed)
	if err != nil {
		return nil, false
	}
	fields := d.changed
	for i := range entries {
		e := &entries[i]
		set, err := m.fieldsOf(e)
		if err != nil {
			return nil, false
		}
		if d.changed != nil && sameManager(e, &own) {
			fields = join(e.FieldsV1.GetRawBytes(), set, changed, removed)
			continue
		}
		if left := without(e.FieldsV1.GetRawBytes(), set, changed, removed); left != nil {
			kept := *e
			kept.FieldsV1 = metav1.NewFieldsV1(string(left))
			out = append(out, kept)
		}
	}
	if d.changed == nil {
		return out, true
	}
	return m.stamp(out, own, fields), true
}

// fieldsOf returns the set of an entry in the kind's version.
func (m *Manager) fieldsOf(e *metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	if e.APIVersion != m.apiVersion || e.FieldsType != "FieldsV1" || e.FieldsV1 == nil {
		return nil, errPlain
	}
	return m.sets.set(e.FieldsV1.GetRawBytes())
}

// stamp adds the entry of a write to others, and sorts them as Kubernetes does.
func (m *Manager) stamp(others []metav1.ManagedFieldsEntry, own metav1.ManagedFieldsEntry, fields []byte) []metav1.ManagedFieldsEntry {
	now := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	own.Time, own.FieldsV1 = &now, &metav1.FieldsV1{}
	own.FieldsV1.SetRawBytes(fields)
	out := append(others, own)
	slices.SortFunc(out, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(seconds(a.Time), seconds(b.Time)),
			cmp.Compare(a.Manager, b.Manager), cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.Subresource, b.Subresource))
	})
	return out
}

func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

// without returns the fields of an entry that others did not take; nil is none. Raw is the set's form.
func without(raw []byte, set, changed, removed *fieldpath.Set) []byte {
	if !meets(set, changed) && !meets(set, removed) {
		return raw
	}
	left := set.Difference(changed).Difference(removed)
	if left.Empty() {
		return nil
	}
	return encode(left)
}

// join returns the fields of an entry after its manager changed more.
func join(raw []byte, set, changed, removed *fieldpath.Set) []byte {
	if !meets(set, removed) && holds(set, changed) {
		return raw
	}
	return encode(set.Difference(removed).Union(changed))
}

// meets tells that two sets have a path in common; the second is the smaller one as a rule.
func meets(set, paths *fieldpath.Set) bool {
	found := false
	paths.Iterate(func(p fieldpath.Path) { found = found || set.Has(p) })
	return found
}

// holds tells that a set has all paths of another.
func holds(set, paths *fieldpath.Set) bool {
	missing := false
	paths.Iterate(func(p fieldpath.Path) { missing = missing || !set.Has(p) })
	return !missing
}

func encode(s *fieldpath.Set) []byte {
	b, err := s.ToJSON()
	if err != nil {
		panic("managed: a set of fields has no JSON: " + err.Error()) // sets of such paths always have one
	}
	return b
}
