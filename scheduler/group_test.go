package scheduler

import (
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// TestGroupsCountThePodsOfAllSnapshots makes a tree of snapshots by random changes, reading some on the
// way, and compares what each has counted with its nodes and their pods.
func TestGroupsCountThePodsOfAllSnapshots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := []*Snapshot{nil}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			from := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "from")]
			b := from.Edit()
			for range rapid.IntRange(1, 20).Draw(t, "steps") {
				changeOnce(t, b)
			}
			versions = append(versions, b.Snapshot())
		}
		for _, s := range versions {
			checkGroups(t, s.orEmpty())
			checkAxes(t, s.orEmpty())
		}
	})
}

func changeOnce(t *rapid.T, b *Builder) {
	name := fmt.Sprintf("node-%d", rapid.IntRange(0, 9).Draw(t, "node"))
	switch rapid.IntRange(0, 9).Draw(t, "op") {
	case 0, 1, 2:
		b.SetNode(drawNode(t, name))
	case 3:
		b.RemoveNode(name)
	case 4:
		b.RemovePod(fmt.Sprintf("ns/%s-%d", name, rapid.IntRange(0, 4).Draw(t, "pod")), name)
	case 5:
		b.s.axis(topology.Draw(t, "key"))
	default:
		pod := drawPod(t, fmt.Sprintf("%s-%d", name, rapid.IntRange(0, 4).Draw(t, "pod")))
		pod.Namespace = "ns"
		if rapid.IntRange(0, 5).Draw(t, "deleted?") == 0 {
			now := metav1.Now()
			pod.DeletionTimestamp = &now
		}
		b.AddPod(NewPodInfo(pod), name)
	}
}

func checkGroups(t *rapid.T, s *Snapshot) {
	want, kinds := map[string]map[int]int32{}, map[string]*kind{}
	for i := range s.nodes.n {
		n := s.nodes.at(i)
		if n.place != i {
			t.Fatalf("%s stands at %d and takes itself to be at %d", n.Node.Name, i, n.place)
		}
		for _, p := range n.Pods {
			if want[p.kind.key] == nil {
				want[p.kind.key], kinds[p.kind.key] = map[int]int32{}, p.kind
			}
			want[p.kind.key][i]++
		}
	}
	got, byNumber := map[string]map[int]int32{}, map[int]*group{}
	for number := range s.groups.all.n {
		g := s.groups.all.at(number)
		if g == nil {
			continue
		}
		got[g.key], byNumber[number] = map[int]int32{}, g
		for place, n := range g.nodes.all() {
			got[g.key][place] = n
			if g.nodes.at(place) != n {
				t.Fatalf("at(%d) is %d, not %d", place, g.nodes.at(place), n)
			}
		}
		if at, ok := s.groups.byKey.get(g.key); !ok || at != number || g.nodes.size != len(got[g.key]) {
			t.Fatalf("group %d is found at %d, size %d, with %v", number, at, g.nodes.size, got[g.key])
		}
	}
	if !reflect.DeepEqual(got, want) || s.groups.byKey.n != len(want) {
		t.Fatalf("the groups are %v; the nodes have %v", got, want)
	}
	for _, k := range kinds {
		checkIndexes(t, s, k, byNumber)
	}
	if len(want) == 0 && (s.groups.byLabel.n != 0 || s.groups.avoiding.n != 0 || s.groups.wishing.n != 0) {
		t.Fatalf("the indexes remember groups that are gone")
	}
}

// checkIndexes compares what the indexes find with a look at all groups.
func checkIndexes(t *rapid.T, s *Snapshot, k *kind, all map[int]*group) {
	about := func(indexed *table[counts]) map[int]bool {
		out := map[int]bool{}
		for _, n := range s.groups.about(indexed, k.labels) {
			out[n] = true
		}
		return out
	}
	avoiding, wishing := about(&s.groups.avoiding), about(&s.groups.wishing)
	for number, g := range all {
		for i := range g.antiAffinity {
			if g.antiAffinity[i].matches(s, k) && !avoiding[number] {
				t.Fatalf("%v avoids %v and is not found", g.kind, k)
			}
		}
		for _, terms := range [][]affinityTerm{g.affinity, g.preferred, g.preferredAgainst} {
			for i := range terms {
				if terms[i].matches(s, k) && !wishing[number] {
					t.Fatalf("%v has rules about %v and is not found", g.kind, k)
				}
			}
		}
		if avoiding[number] && len(g.antiAffinity) == 0 || wishing[number] && !g.wishes() {
			t.Fatalf("%v has no rule and is found", g.kind)
		}
	}
	for _, terms := range [][]affinityTerm{k.affinity, k.antiAffinity, k.preferred, k.preferredAgainst} {
		for i := range terms {
			found := map[*group]int{}
			for g := range s.groups.selected(&terms[i].selector) {
				found[g]++
			}
			for _, g := range all {
				if want := terms[i].selector.Matches(g.labels); want && found[g] != 1 || !want && found[g] != 0 {
					t.Fatalf("%v finds %v %d times", terms[i].selector, g.labels, found[g])
				}
			}
		}
	}
}

func checkAxes(t *rapid.T, s *Snapshot) {
	for _, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone, "none"} {
		a := s.axis(key)
		values, nodes := map[int32]string{}, map[int32]int32{}
		for i := range s.nodes.n {
			v, ok := s.nodes.at(i).Node.Labels[key]
			d := a.domains[i]
			if ok != (d != noDomain) {
				t.Fatalf("node %d with %q is in domain %d", i, v, d)
			}
			if !ok {
				continue
			}
			if was, seen := values[d]; seen && was != v {
				t.Fatalf("%q and %q are both domain %d", v, was, d)
			}
			values[d] = v
			nodes[d]++
		}
		distinct := map[string]bool{}
		for _, v := range values {
			distinct[v] = true
		}
		if len(distinct) != len(values) || a.live != len(values) || len(a.domains) != s.nodes.n {
			t.Fatalf("%d values, %d domains, %d of them live, for %d nodes of %d", len(distinct), len(values), a.live, len(a.domains), s.nodes.n)
		}
		for d, n := range a.nodes {
			if n != nodes[int32(d)] {
				t.Fatalf("domain %d has %d nodes, not %d", d, nodes[int32(d)], n)
			}
		}
	}
}

// TestCountsAcrossChunks compares counts with a map, over old versions, too.
func TestCountsAcrossChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			c counts
			m map[int]int32
		}
		versions := []version{{m: map[int]int32{}}}
		for range rapid.IntRange(1, 20).Draw(t, "versions") {
			x := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "from")]
			m := map[int]int32{}
			for k, v := range x.m {
				m[k] = v
			}
			e := &edit{}
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				i := rapid.SampledFrom([]int{0, 1, 63, 64, 65, 127, 128, 1000, 5000}).Draw(t, "i")
				by := rapid.Int32Range(-m[i], 2).Draw(t, "by")
				if x.c.add(e, i, by); m[i]+by == 0 {
					delete(m, i)
				} else {
					m[i] += by
				}
			}
			versions = append(versions, version{x.c, m})
		}
		for _, x := range versions {
			got := map[int]int32{}
			for i, n := range x.c.all() {
				got[i] = n
			}
			if !reflect.DeepEqual(got, x.m) || x.c.size != len(x.m) {
				t.Fatalf("counts are %v, size %d; want %v", got, x.c.size, x.m)
			}
			for _, i := range []int{0, 2, 63, 64, 200, 5000, 9999} {
				if x.c.at(i) != x.m[i] {
					t.Fatalf("at(%d) is %d, want %d", i, x.c.at(i), x.m[i])
				}
			}
		}
	})
}
