package scheduler

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func storageRequest(size string) corev1.VolumeResourceRequirements {
	return corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}}
}

func aVolume(name, size string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"disk": name}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "local", Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadOnlyMany},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
}

func aClaim(size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data", UID: "u1"},
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("local"), Resources: storageRequest(size),
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}},
	}
}

func candidateNames(t *testing.T, c *corev1.PersistentVolumeClaim, vs ...*corev1.PersistentVolume) string {
	t.Helper()
	b := NewSnapshot(nil, nil).Edit()
	for _, v := range vs {
		b.SetObject(v)
	}
	found, err := claimCandidates(c, b.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found.far {
		names = append(names, f.volume.Name)
	}
	return strings.Join(names, " ")
}

// TestClaimCandidates: each change makes a volume that would do one that does not, or one that is preferred.
func TestClaimCandidates(t *testing.T) {
	block := corev1.PersistentVolumeBlock
	ref := func(name string, uid string) func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) {
		return func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) {
			v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "default", Name: name}
			v.Spec.ClaimRef.UID = aClaim("1Gi").UID
			if uid != "same" {
				v.Spec.ClaimRef.UID = ""
			}
			if uid == "other" {
				v.Spec.ClaimRef.UID = "u2"
			}
		}
	}
	for name, test := range map[string]struct {
		change func(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim)
		want   string
	}{
		"as it is": {func(*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) {}, "small large"},
		"too small": {func(_ *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources = storageRequest("3Gi")
		}, "large"},
		"other class": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) { v.Spec.StorageClassName = "other" }, "large"},
		"class by annotation": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) {
			v.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: "other"}
		}, "large"},
		"other mode": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) { v.Spec.VolumeMode = &block }, "large"},
		"other attributes": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) {
			v.Spec.VolumeAttributesClassName = new("gold")
		}, "large"},
		"not available": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) {
			v.Status.Phase = corev1.VolumeReleased
		}, "large"},
		"being deleted": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) {
			v.DeletionTimestamp = new(metav1.Now())
		}, "large"},
		"other access modes": {func(v *corev1.PersistentVolume, _ *corev1.PersistentVolumeClaim) {
			v.Spec.AccessModes = v.Spec.AccessModes[1:]
		}, "large"},
		"selector": {func(_ *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) {
			c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"disk": "large"}}
		}, "large"},
		"reserved":                {ref("data", "same"), "small"},
		"reserved without a UID":  {ref("data", ""), "small"},
		"reserved for a namesake": {ref("data", "other"), "large"},
		"reserved for another":    {ref("other", ""), "large"},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := aVolume("small", "2Gi"), aClaim("1Gi")
			test.change(v, c)
			if got := candidateNames(t, c, aVolume("large", "4Gi"), v); got != test.want {
				t.Errorf("candidates are %q, want %q", got, test.want)
			}
		})
	}
}

func TestSelectorThatCannotBeParsed(t *testing.T) {
	c := aClaim("1Gi")
	c.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	if _, err := claimCandidates(c, emptySnapshot); err == nil || !strings.Contains(err.Error(), "default/data") {
		t.Errorf("error is %v; it must name the claim", err)
	}
}

func TestTopologies(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a", "rack": "1"}}}
	term := func(kv ...string) corev1.TopologySelectorTerm {
		var out corev1.TopologySelectorTerm
		for i := 0; i < len(kv); i += 2 {
			out.MatchLabelExpressions = append(out.MatchLabelExpressions,
				corev1.TopologySelectorLabelRequirement{Key: kv[i], Values: strings.Fields(kv[i+1])})
		}
		return out
	}
	for _, test := range []struct {
		terms []corev1.TopologySelectorTerm
		want  bool
	}{
		{nil, true},
		{[]corev1.TopologySelectorTerm{{}}, false},
		{[]corev1.TopologySelectorTerm{term("zone", "a b")}, true},
		{[]corev1.TopologySelectorTerm{term("zone", "b")}, false},
		{[]corev1.TopologySelectorTerm{term("zone", "b"), term("rack", "1")}, true},
		{[]corev1.TopologySelectorTerm{term("zone", "a", "rack", "2")}, false},
		{[]corev1.TopologySelectorTerm{term("zone", "")}, false},
	} {
		if got := topologyTermsOf(test.terms).admit(n); got != test.want {
			t.Errorf("%v admits the node: %v, want %v", test.terms, got, test.want)
		}
	}
}

func TestCapacityFor(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}}}
	record := func(zone string, capacity, largest string) *storagev1.CSIStorageCapacity {
		c := &storagev1.CSIStorageCapacity{Capacity: new(resource.MustParse(capacity))}
		c.Name = zone + capacity + largest
		if zone != "" {
			c.NodeTopology = &metav1.LabelSelector{MatchLabels: map[string]string{"zone": zone}}
		}
		if largest != "" {
			c.MaximumVolumeSize = new(resource.MustParse(largest))
		}
		return c
	}
	near, far, capped, nowhere := record("a", "10", ""), record("b", "99", ""), record("a", "99", "5"), record("", "99", "")
	if got := capacityFor(n, 10, []*storagev1.CSIStorageCapacity{far, capped, nowhere, near}); got != near {
		t.Errorf("found %v, want the one that is near", got)
	}
	if got := capacityFor(n, 11, []*storagev1.CSIStorageCapacity{far, capped, nowhere, near}); got != nil {
		t.Errorf("found %v for more than there is", got)
	}
}

// TestZonesOf: what was joined comes apart again, whatever spaces stand around it.
func TestZonesOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.SliceOfN(rapid.StringMatching("[a-z][a-z0-9-]{0,5}"), 1, 4).Draw(t, "zones")
		if got := zonesOf(" " + strings.Join(zones, " __") + " "); !slices.Equal(got, zones) {
			t.Fatalf("%q became %q", zones, got)
		}
	})
	for _, s := range []string{"", "__", "a__", "__a", "a__ __b"} {
		if got := zonesOf(s); got != nil {
			t.Errorf("%q has zones %q", s, got)
		}
	}
}

// TestVolumeFieldRule: a rule about the node's name is passed over, as it is by kube-scheduler.
func TestVolumeFieldRule(t *testing.T) {
	v := aVolume("v", "1Gi")
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchFields:      []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{"other"}}},
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpExists}}}}}}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"zone": "a"}}}
	if !nodeRuleOf(v).admits(n) {
		t.Error("the node's name counted")
	}
	if n.Labels = nil; nodeRuleOf(v).admits(n) {
		t.Error("its labels did not")
	}
}
