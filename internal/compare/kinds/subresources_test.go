package kinds

import (
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kubernetes/pkg/registry/core/pod"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/core"
	"github.com/inboard/inboard/internal/compare/known"
)

// Ephemeral containers may be added to a pod under the same conditions as in Kubernetes.
func TestEphemeralContainers(t *testing.T) {
	understood, found := known.Read(t, "testdata/known.txt"), findings{}
	k := core.Pod()
	sub := k.Subresources["ephemeralcontainers"]
	c := &comparison{kind: k, found: found, theirs: theirs{k.GroupVersionKind}}
	for i := range *runs {
		c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
		old := c.sample(t).(*corev1.Pod)
		k.Default(old)
		k.Prepare(old, nil)
		old.SetResourceVersion("1")
		if c.IntN(2) == 0 {
			old.Spec.EphemeralContainers = []corev1.EphemeralContainer{c.ephemeral("debug")}
			k.Default(old)
		}
		asked := copyOf(old).(*corev1.Pod)
		asked.Spec.EphemeralContainers = append(asked.Spec.EphemeralContainers, c.ephemeral("more"))
		mutator{c.Rand}.mutate(&asked.Spec.EphemeralContainers[c.IntN(len(asked.Spec.EphemeralContainers))], c.IntN(3))
		k.Default(asked)
		theirErrs, err := c.theirs.status(pod.EphemeralContainersStrategy, asked, old)
		if err != nil {
			t.Fatal(err)
		}
		merged := copyOf(old)
		sub.Merge(merged, asked)
		errs := sub.Validate(merged, old)
		if len(errs) == 0 {
			c.accepted++
		}
		c.report("update", errs, theirErrs, text(asked))
	}
	if c.accepted == 0 {
		t.Error("no change was accepted")
	}
	for what, f := range found {
		if !understood.Has(what) {
			t.Errorf("%d times: %s\n    such as %s", f.n, what, f.example)
		}
	}
}

func (c *comparison) ephemeral(name string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: "busybox"}}
}

// What a pod asks for may be changed under the same conditions as in Kubernetes, and becomes the same.
func TestResize(t *testing.T) {
	found := findings{}
	k := core.Pod()
	sub := k.Subresources["resize"]
	c := &comparison{kind: k, found: found, theirs: theirs{k.GroupVersionKind}}
	for i := range *runs {
		c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
		old := c.sample(t).(*corev1.Pod)
		c.resources(old)
		k.Default(old)
		k.Prepare(old, nil)
		old.SetResourceVersion("1")
		if c.IntN(4) == 0 {
			old.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
			if c.IntN(2) == 0 {
				old.Status.ContainerStatuses[0].Resources = &corev1.ResourceRequirements{}
			}
		}
		asked := copyOf(old).(*corev1.Pod)
		if c.IntN(3) > 0 {
			c.resources(asked)
		}
		mutator{c.Rand}.mutate(&asked.Spec, c.IntN(3))
		k.Default(asked)
		stored, theirErrs, err := c.theirs.subresource(pod.ResizeStrategy, "resize", asked, old)
		if err != nil {
			t.Fatal(err)
		}
		merged := copyOf(old)
		sub.Merge(merged, copyOf(asked))
		errs := sub.Validate(merged, old)
		c.report("update", errs, theirErrs, text(asked)+"\nfrom\n"+text(old))
		if len(errs) > 0 {
			continue
		}
		c.accepted++
		if d := firstDifference(withoutMeta(merged), withoutMeta(stored.(client.Object))); d != "" {
			c.found.add(c.kind.Kind, "prepare resize "+where(d), d)
		}
	}
	t.Logf("%d of %d changes were accepted", c.accepted, *runs)
	if c.accepted == 0 {
		t.Error("no change was accepted")
	}
	found.unknown(t)
}

// resources changes what containers, and maybe the pod as a whole, ask for.
func (c *comparison) resources(p *corev1.Pod) {
	list := func() corev1.ResourceList {
		out := corev1.ResourceList{}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if c.IntN(4) > 0 {
				out[name] = resource.MustParse([]string{"1", "2", "1Gi"}[c.IntN(3)])
			}
		}
		return out
	}
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].Resources.Requests = list()
		if c.IntN(2) == 0 {
			p.Spec.Containers[i].Resources.Limits = list()
		}
	}
	if len(p.Spec.InitContainers) > 0 && c.IntN(2) == 0 {
		p.Spec.InitContainers[0].Resources.Requests = list()
	}
	if c.IntN(6) == 0 {
		p.Spec.Resources = &corev1.ResourceRequirements{Requests: list(), Limits: list()}
	}
}
