package kinds

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/pod"

	"github.com/inboard/inboard/apiserver/kinds/core"
)

// Ephemeral containers may be added to a pod under the same conditions as in Kubernetes.
func TestEphemeralContainers(t *testing.T) {
	known, found := readKnown(t), findings{}
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
		if !slices.ContainsFunc(known, func(r *regexp.Regexp) bool { return r.MatchString(what) }) {
			t.Errorf("%d times: %s\n    such as %s", f.n, what, f.example)
		}
	}
}

func (c *comparison) ephemeral(name string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: "busybox"}}
}
