package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
)

// BenchmarkObjects places pods whose place depends on other objects: an iteration is one pod, as in
// BenchmarkSchedule.
func BenchmarkObjects(b *testing.B) {
	const pods = 1000 // as many as there are nodes at least
	workloads := []struct {
		name  string
		setUp func(b *Builder, nodes, pod int) *corev1.Pod
	}{
		{"service", func(b *Builder, _, i int) *corev1.Pod {
			p := benchPod(i) // one of ten Services
			p.Name = p.Labels["app"]
			b.SetObject(&corev1.Service{ObjectMeta: p.ObjectMeta, Spec: corev1.ServiceSpec{Selector: p.Labels}})
			return benchPod(i)
		}},
		{"provisioned", func(b *Builder, _, i int) *corev1.Pod { return benchClaim(b, "fast", i) }},
		{"bound", func(b *Builder, _, i int) *corev1.Pod {
			p := benchClaim(b, "fast", i)
			bind(b, "default", p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName, benchVolume(b, "fast", i, fmt.Sprintf("zone-%d", i%3)))
			return p
		}},
		{"local", func(b *Builder, nodes, i int) *corev1.Pod {
			benchVolume(b, "local", i, "")
			return benchClaim(b, "local", i)
		}},
	}
	for _, w := range workloads {
		for _, n := range []int{1000, 5000} {
			b.Run(fmt.Sprintf("%s/nodes=%d", w.name, n), func(b *testing.B) {
				profile := mustProfile(b, ProfileConfig{})
				e := NewSnapshot(benchNodes(n), nil).Edit()
				e.SetObject(delayedClass("fast", "csi.example.com"))
				e.SetObject(delayedClass("local", noProvisioner))
				var list []*corev1.Pod
				for i := range pods {
					list = append(list, w.setUp(e, n, i))
				}
				empty := e.Snapshot()
				s, random, i := empty, rand.New(rand.NewPCG(1, 2)), 0
				b.ReportAllocs()
				report := cpuTime(b)
				for b.Loop() {
					var out []Outcome
					if out, s = profile.ScheduleAll(s, list[i%pods:i%pods+1], random); out[0].Err != nil {
						b.Fatal(out[0].Err)
					}
					if i++; i%pods == 0 {
						s = empty
					}
				}
				report()
			})
		}
	}
}

func delayedClass(name, provisioner string) *storagev1.StorageClass {
	c := &storagev1.StorageClass{Provisioner: provisioner, VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)}
	c.Name = name
	return c
}

func benchClaim(b *Builder, class string, i int) *corev1.Pod {
	c := aClaim("1Gi")
	c.Name, c.UID, c.Spec.StorageClassName = fmt.Sprint("claim-", i), types.UID(fmt.Sprint(i)), &class
	b.SetObject(c)
	p := benchPod(i)
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.Name}}}}
	return p
}

// benchVolume makes a volume of a zone or, without one, of the node that has the volume's number.
func benchVolume(b *Builder, class string, i int, zone string) *corev1.PersistentVolume {
	v := aVolume(fmt.Sprint("volume-", i), "1Gi")
	v.Spec.StorageClassName = class
	key, value := corev1.LabelTopologyZone, zone
	if zone == "" {
		key, value = corev1.LabelHostname, fmt.Sprintf("node-%d", i)
	}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}}}}}}}
	b.SetObject(v)
	return v
}

func bind(b *Builder, namespace, claim string, v *corev1.PersistentVolume) {
	c := b.s.claim(namespace, claim).DeepCopy()
	v, _ = withClaim(v, c)
	c.Spec.VolumeName, c.Annotations = v.Name, map[string]string{annBindCompleted: "yes"}
	b.SetObject(v)
	b.SetObject(c)
}
