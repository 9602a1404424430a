package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// someVolume is of one of two classes and reached from one host, from two, from a zone or from everywhere; it may be
// reserved for a claim.
func someVolume(r *rand.Rand, i int) *corev1.PersistentVolume {
	v := aVolume(fmt.Sprint("volume-", i), fmt.Sprint(1+r.IntN(3), "Gi"))
	v.Spec.StorageClassName = []string{"local", "other"}[r.IntN(2)]
	var where []corev1.NodeSelectorRequirement
	host := func() string { return fmt.Sprint("node-", r.IntN(4)) }
	switch r.IntN(5) {
	case 0, 1:
		where = []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{host()}}}
		if r.IntN(3) == 0 {
			where = append(where, corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}})
		}
	case 2:
		where = []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{host(), host()}}}
	case 3:
		where = []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"b"}}}
	}
	if where != nil {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: where}}}}
	}
	if r.IntN(4) == 0 {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "default", Name: []string{"data", "else", "else"}[r.IntN(3)]}
	}
	return v
}

// plainChoice looks at all volumes.
func plainChoice(c *corev1.PersistentVolumeClaim, all []*corev1.PersistentVolume, n *corev1.Node) string {
	fit := slices.DeleteFunc(slices.Clone(all), func(v *corev1.PersistentVolume) bool { return volumeClass(v) != claimClass(c) || !couldHold(v, c) })
	slices.SortFunc(fit, func(a, b *corev1.PersistentVolume) int {
		return bySize(volumeCandidate{volume: a, size: bytesIn(a.Spec.Capacity)}, volumeCandidate{volume: b, size: bytesIn(b.Spec.Capacity)})
	})
	var reserved []*corev1.PersistentVolume
	for _, v := range fit {
		if reservedFor(v, c) && (len(reserved) == 0 || v.Name < reserved[0].Name) {
			reserved = []*corev1.PersistentVolume{v}
		}
	}
	if reserved != nil {
		fit = reserved
	}
	for _, v := range fit {
		if nodeRuleOf(v).admits(n) {
			return v.Name
		}
	}
	return ""
}

// TestVolumesByHost: a claim gets on each node the volume that a look at all of them finds, also after volumes have
// changed hands and gone.
func TestVolumesByHost(t *testing.T) {
	found, none := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		b := NewSnapshot(nil, nil).Edit()
		for range 3 {
			for i := range r.IntN(20) {
				if v := someVolume(r, i); r.IntN(4) == 0 {
					b.RemoveObject(v)
				} else {
					b.SetObject(v)
				}
			}
			s := b.Snapshot()
			b = s.Edit()
			c := aClaim(fmt.Sprint(1+r.IntN(3), "Gi"))
			candidates, err := claimCandidates(c, s)
			if err != nil {
				t.Fatal(err)
			}
			all := slices.Collect(Objects[*corev1.PersistentVolume](s, ""))
			for i := range 4 {
				n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelHostname: fmt.Sprint("node-", i), "zone": []string{"a", "b"}[i%2]}}}
				got, want := "", plainChoice(c, all, n)
				if v := candidates.choose(n, func(*corev1.PersistentVolume) bool { return false }); v != nil {
					got = v.Name
				}
				if got != want {
					t.Fatalf("seed %d, node %d: chosen is %q, want %q", seed, i, got, want)
				}
				if got != "" && candidates.none() {
					t.Fatalf("seed %d: there are said to be no volumes", seed)
				}
				if got == "" {
					none++
				} else {
					found++
				}
			}
		}
	}
	if found < 500 || none < 500 {
		t.Errorf("%d found, %d not", found, none)
	}
}
