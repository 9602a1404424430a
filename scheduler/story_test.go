package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// TestStories plays the scripts in testdata. Their commands are:
//
//	nodes             adds or replaces nodes: "name cpu=4 memory=8Gi zone=a taint=key=value:NoSchedule cordoned"
//	schedule          places pods, given as YAML manifests; with "copies=N" each N times
//	preempt           places pods as the loop does: those that fit nowhere may take the room of others, who
//	                  are gone then; the pod waits for its node and is placed when it is given again
//	budgets           adds or replaces PodDisruptionBudgets, given as YAML manifests
//	what-if           the same as schedule, without keeping the result
//	explain           one line for each node: why it refuses a pod, or how it scores
//	delete-pods       removes the pods with the given names
//	remove-nodes      removes nodes
//	groups            adds or replaces pod groups of the default namespace: "name min=3", or "name" for a basic one
//	namespaces        sets the labels of namespaces: "name key=value"
//	objects           adds or replaces objects of other kinds, given as YAML manifests
//	claims            lists the claims with their volumes, and with the node that a provisioner is told
//	bind-claims       plays the PersistentVolume controller: claims get the volumes that are reserved for them
//	show              lists the nodes with their pods
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		st := &story{profile: mustProfile(t, ProfileConfig{})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := st.run(t, d)
			if out != "" && !strings.HasSuffix(out, "\n") {
				out += "\n"
			}
			return out
		})
	})
}

func mustProfile(t testing.TB, cfg ProfileConfig) *Profile {
	t.Helper()
	p, err := NewProfile(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type story struct {
	profile  *Profile
	snapshot *Snapshot
}

func (st *story) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "nodes":
		for line := range strings.Lines(d.Input) {
			st.snapshot = st.snapshot.AddNode(parseNode(t, strings.Fields(line)))
		}
		return ""
	case "groups":
		b := st.snapshot.Edit()
		for line := range strings.Lines(d.Input) {
			b.SetObject(parseGroup(t, strings.Fields(line)))
		}
		st.snapshot = b.Snapshot()
		return ""
	case "namespaces":
		b := st.snapshot.Edit()
		for line := range strings.Lines(d.Input) {
			f := strings.Fields(line)
			b.SetNamespace(f[0], parseLabels(f[1:]))
		}
		st.snapshot = b.Snapshot()
		return ""
	case "objects":
		st.setObjects(t, d.Input)
		return ""
	case "claims":
		return st.claims()
	case "bind-claims":
		st.bindClaims()
		return ""
	case "schedule", "what-if":
		out, after := st.schedule(t, d)
		if d.Cmd == "schedule" {
			st.snapshot = after
		}
		return out
	case "preempt":
		return st.preempt(t, d)
	case "budgets":
		b := st.snapshot.Edit()
		for _, pdb := range parseAll[policyv1.PodDisruptionBudget](t, d.Input) {
			pdb.Namespace = cmp.Or(pdb.Namespace, "default")
			b.SetObject(pdb)
		}
		st.snapshot = b.Snapshot()
		return ""
	case "explain":
		return st.explain(t, d)
	case "delete-pods":
		return st.deletePods(strings.Fields(d.Input))
	case "remove-nodes":
		for _, name := range strings.Fields(d.Input) {
			st.snapshot = st.snapshot.RemoveNode(name)
		}
		return ""
	case "show":
		return st.show()
	}
	t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	return ""
}

func (st *story) schedule(t *testing.T, d *datadriven.TestData) (string, *Snapshot) {
	copies := 1
	d.MaybeScanArgs(t, "copies", &copies)
	var pods []*corev1.Pod
	for _, pod := range parsePods(t, d.Input) {
		for i := range copies {
			c := pod.DeepCopy()
			if copies > 1 {
				c.Name = fmt.Sprintf("%s-%d", pod.Name, i)
			}
			pods = append(pods, c)
		}
	}
	outcomes, after := st.profile.ScheduleAll(st.snapshot, pods, nil)
	var b strings.Builder
	for _, o := range outcomes {
		if o.Err != nil {
			fmt.Fprintf(&b, "%s: %v\n", o.Pod.Name, o.Err)
		} else {
			fmt.Fprintf(&b, "%s -> %s\n", o.Pod.Name, o.Node)
		}
	}
	return b.String(), after
}

func (st *story) preempt(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	for _, pod := range parsePods(t, d.Input) {
		info := NewPodInfo(pod)
		a, room, err := st.profile.PlaceOrPreempt(st.snapshot, info, nil)
		b := st.snapshot.Edit()
		if err == nil {
			fmt.Fprintf(&out, "%s -> %s\n", pod.Name, a.Node)
			b.Denominate(info.Key)
			b.AddPod(info, a.Node)
			st.snapshot = b.Snapshot()
			continue
		}
		fmt.Fprintf(&out, "%s: %v\n", pod.Name, err)
		if room.Nominate != "" {
			fmt.Fprintf(&out, "  waits for %s, evicts", room.Nominate)
			for _, v := range room.Victims {
				fmt.Fprintf(&out, " %s", v.Pod.Name)
				b.RemovePod(v.Key, room.Nominate)
			}
			fmt.Fprintln(&out)
			b.Nominate(info, room.Nominate)
		}
		if room.Denominate {
			b.Denominate(info.Key)
		}
		st.snapshot = b.Snapshot()
	}
	return out.String()
}

func (st *story) explain(t *testing.T, d *datadriven.TestData) string {
	var b strings.Builder
	for _, pod := range parsePods(t, d.Input) {
		trace, err := st.profile.Explain(st.snapshot, NewPodInfo(pod))
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		if err := trace.Write(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func (st *story) deletePods(names []string) string {
	for n := range st.snapshot.Nodes() {
		for _, p := range n.Pods {
			if slices.Contains(names, p.Pod.Name) {
				st.snapshot = st.snapshot.RemovePod(p.Pod, n.Node.Name)
			}
		}
	}
	return ""
}

func (st *story) show() string {
	var b strings.Builder
	for n := range st.snapshot.Nodes() {
		fmt.Fprintf(&b, "%s:", n.Node.Name)
		for _, p := range n.Pods {
			fmt.Fprintf(&b, " %s", p.Pod.Name)
		}
		fmt.Fprintf(&b, "  (cpu %dm of %dm, memory %d MiB of %d MiB)\n", n.Requested.MilliCPU, n.Allocatable.MilliCPU,
			n.Requested.Memory>>20, n.Allocatable.Memory>>20)
	}
	return b.String()
}

func parseNode(t testing.TB, fields []string) *corev1.Node {
	t.Helper()
	n := &corev1.Node{}
	n.Name = fields[0]
	n.Labels = map[string]string{corev1.LabelHostname: n.Name}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("16Gi"),
		corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		switch {
		case k == "cordoned":
			n.Spec.Unschedulable = true
		case k == "taint":
			n.Spec.Taints = append(n.Spec.Taints, parseTaint(t, v))
		case k == "feature":
			n.Status.DeclaredFeatures = append(n.Status.DeclaredFeatures, v)
		case k == "zone":
			n.Labels[corev1.LabelTopologyZone] = v
		case k == "image":
			name, size, _ := strings.Cut(v, "@")
			q := resource.MustParse(size)
			n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{name}, SizeBytes: q.Value()})
		case slices.Contains([]string{"cpu", "memory", "pods", "ephemeral-storage"}, k) || strings.Contains(k, "/gpu") || strings.HasPrefix(k, "hugepages-"):
			n.Status.Allocatable[corev1.ResourceName(k)] = resource.MustParse(v)
		default:
			n.Labels[k] = v
		}
	}
	return n
}

func parseGroup(t testing.TB, fields []string) *schedulingv1beta1.PodGroup {
	t.Helper()
	g := &schedulingv1beta1.PodGroup{}
	g.Namespace, g.Name = "default", fields[0]
	for _, f := range fields[1:] {
		n, err := strconv.Atoi(strings.TrimPrefix(f, "min="))
		if err != nil {
			t.Fatal(err)
		}
		g.Spec.SchedulingPolicy.Gang = &schedulingv1beta1.GangSchedulingPolicy{MinCount: int32(n)}
	}
	return g
}

func parseTaint(t testing.TB, s string) corev1.Taint {
	kv, effect, ok := strings.Cut(s, ":")
	if !ok {
		t.Fatalf("taint %q has no effect", s)
	}
	k, v, _ := strings.Cut(kv, "=")
	return corev1.Taint{Key: k, Value: v, Effect: corev1.TaintEffect(effect)}
}

func parseLabels(fields []string) map[string]string {
	out := map[string]string{}
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		out[k] = v
	}
	return out
}

func parsePods(t testing.TB, text string) []*corev1.Pod {
	t.Helper()
	out := parseAll[corev1.Pod](t, text)
	for _, p := range out {
		p.Namespace = cmp.Or(p.Namespace, "default")
	}
	return out
}

func parseAll[T any](t testing.TB, text string) (out []*T) {
	t.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		x := new(T)
		if err := yaml.UnmarshalStrict([]byte(doc), x); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		out = append(out, x)
	}
	return out
}
