package apiserver_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/inboard/inboard/apiserver/client"
)

// selections are what the tests of the index select by, with the same told as a function.
var selections = []struct {
	labels, fields string
	matches        func(p *corev1.Pod) bool
}{
	{"app=a1", "", nil},
	{"app in (a1,a2)", "", nil},
	{"app=a1,tier!=web", "", nil},
	{"app=none", "", nil},
	{"app", "", nil},
	{"tier=web,app==a0", "", nil},
	{"", "spec.nodeName=n1", func(p *corev1.Pod) bool { return p.Spec.NodeName == "n1" }},
	{"", "spec.nodeName=", func(p *corev1.Pod) bool { return p.Spec.NodeName == "" }},
	{"app=a2", "spec.nodeName=n1", func(p *corev1.Pod) bool { return p.Spec.NodeName == "n1" }},
	{"", "status.phase!=Running", func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning }},
	// These Kubernetes has not.
	{"", "spec.priority=5", func(p *corev1.Pod) bool { return p.Spec.Priority != nil && *p.Spec.Priority == 5 }},
	{"", "spec.priority=,spec.nodeName=n2", func(p *corev1.Pod) bool { return p.Spec.Priority == nil && p.Spec.NodeName == "n2" }},
	{"", "metadata.annotations.note=x", func(p *corev1.Pod) bool { return p.Annotations["note"] == "x" }},
	{"app=a1", "status.message=m1", func(p *corev1.Pod) bool { return p.Status.Message == "m1" }},
}

// selectedBy is the plain way to select.
func selectedBy(t *testing.T, pods []*corev1.Pod, i int, namespace string) []string {
	sel, err := labels.Parse(selections[i].labels)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, p := range pods {
		if sel.Matches(labels.Set(p.Labels)) && (namespace == "" || p.Namespace == namespace) &&
			(selections[i].matches == nil || selections[i].matches(p)) {
			out = append(out, p.Namespace+"/"+p.Name+"@"+p.ResourceVersion)
		}
	}
	return out
}

func podNames(pods []*corev1.Pod) []string {
	out := []string{}
	for _, p := range pods {
		out = append(out, p.Namespace+"/"+p.Name+"@"+p.ResourceVersion)
	}
	return out
}

// podWriter changes pods at random.
type podWriter struct {
	pods client.Typed[*corev1.Pod]
	rnd  *rand.Rand
	name string // begins the names of its pods
}

func pick(rnd *rand.Rand, words ...string) string { return words[rnd.IntN(len(words))] }

func (w *podWriter) step(t *testing.T) {
	ns, name := pick(w.rnd, "default", "kube-system"), fmt.Sprintf("%s%03d", w.name, w.rnd.IntN(120))
	p := testPod(name)
	p.Namespace = ns
	p.Labels = map[string]string{"app": "a" + fmt.Sprint(w.rnd.IntN(6))}
	if w.rnd.IntN(2) == 0 {
		p.Labels["tier"] = pick(w.rnd, "web", "db")
	}
	p.Spec.NodeName = pick(w.rnd, "", "n1", "n2", "n3", "n4")
	if w.rnd.IntN(3) == 0 {
		p.Annotations = map[string]string{"note": pick(w.rnd, "x", "y")}
	}
	var err error
	switch w.rnd.IntN(5) {
	case 0, 1:
		_, err = w.pods.Create(t.Context(), p)
	case 2:
		zero := int64(0)
		err = w.pods.Delete(t.Context(), ns, name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	default:
		err = w.change(t, ns, name, p)
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) {
		t.Error(err)
	}
}

func (w *podWriter) change(t *testing.T, ns, name string, like *corev1.Pod) error {
	p, err := w.pods.Get(t.Context(), ns, name)
	if err != nil {
		return err
	}
	if w.rnd.IntN(2) == 0 {
		p.Labels, p.Annotations = like.Labels, like.Annotations
		_, err = w.pods.Update(t.Context(), p)
		return err
	}
	p.Status.Phase = corev1.PodPhase(pick(w.rnd, "Pending", "Running"))
	p.Status.Message = pick(w.rnd, "", "m1", "m2")
	_, err = w.pods.UpdateStatus(t.Context(), p)
	return err
}

// fill makes enough pods for the index to be worth it.
func fillPods(t *testing.T, pods client.Typed[*corev1.Pod], n int) {
	for i := range n {
		p := testPod(fmt.Sprintf("fill%04d", i))
		p.Labels = map[string]string{"app": fmt.Sprint("a", i%50), "tier": "web"}
		if i%40 == 0 {
			p.Spec.NodeName = "n1"
		}
		if _, err := pods.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

// A selective list is a full list at its revision, selected the plain way, while others write. So an index never
// shows what was, and never leaves out what is.
func TestSelectiveListsAreExact(t *testing.T) {
	c := newServer(t).Client(admin)
	pods := client.For[*corev1.Pod](c)
	fillPods(t, pods, 300)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		w := &podWriter{pods, rand.New(rand.NewPCG(uint64(i), 1)), pick(rand.New(rand.NewPCG(uint64(i), 2)), "w", "v")}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.step(t)
				}
			}
		})
	}
	deadline := time.Now().Add(2 * time.Second)
	for round := 0; round < 3*len(selections) || time.Now().Before(deadline); round++ {
		i, ns := round%len(selections), []string{"", "default", "kube-system"}[round%3]
		opts := metav1.ListOptions{LabelSelector: selections[i].labels, FieldSelector: selections[i].fields}
		got, err := pods.List(t.Context(), ns, opts)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pods.List(t.Context(), "", metav1.ListOptions{ResourceVersion: got.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
		if err != nil {
			t.Fatal(err)
		}
		if want := selectedBy(t, all.Items, i, ns); !slices.Equal(podNames(got.Items), want) {
			t.Fatalf("%+v in %q at %s:\n%v\nwant\n%v", opts, ns, got.ResourceVersion, podNames(got.Items), want)
		}
	}
	close(stop)
	wg.Wait()
}

// Pages of a selective list are one snapshot, also when an index found the first.
func TestSelectivePagesAreOneSnapshot(t *testing.T) {
	pods := client.For[*corev1.Pod](newServer(t).Client(admin))
	fillPods(t, pods, 300)
	w := &podWriter{pods, rand.New(rand.NewPCG(7, 7)), "w"}
	for range 200 {
		w.step(t)
	}
	for i := range selections {
		for range 3 { // the second time on there is an index
			all, err := pods.List(t.Context(), "", metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want, got := selectedBy(t, all.Items, i, ""), []string{}
			opts := metav1.ListOptions{LabelSelector: selections[i].labels, FieldSelector: selections[i].fields, Limit: 3}
			for {
				page, err := pods.List(t.Context(), "", opts)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, podNames(page.Items)...)
				if opts.Continue = page.Continue; opts.Continue == "" {
					break
				}
				if len(page.Items) != 3 {
					t.Fatalf("%+v: a page of %d", opts, len(page.Items))
				}
				w.step(t)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%+v:\n%v\nwant\n%v", opts, got, want)
			}
		}
	}
}

// Watches with selectors tell exactly what a lister sees come and go.
func TestSelectiveWatchesAreExact(t *testing.T) {
	pods := client.For[*corev1.Pod](newServer(t).Client(admin))
	fillPods(t, pods, 150)
	for i := range selections {
		opts := metav1.ListOptions{LabelSelector: selections[i].labels, FieldSelector: selections[i].fields}
		list, err := pods.List(t.Context(), "", opts)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, p := range list.Items {
			seen[p.Namespace+"/"+p.Name] = p.ResourceVersion
		}
		opts.ResourceVersion = list.ResourceVersion
		w := &podWriter{pods, rand.New(rand.NewPCG(uint64(i), 3)), "w"}
		for range 60 {
			w.step(t)
		}
		events, err := pods.Watch(t.Context(), "", opts)
		if err != nil {
			t.Fatal(err)
		}
		last := testPod(fmt.Sprint("last-", i)) // selected by none but the bookkeeping below
		made, err := pods.Create(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		after, err := pods.List(t.Context(), "", metav1.ListOptions{LabelSelector: opts.LabelSelector, FieldSelector: opts.FieldSelector})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, p := range after.Items {
			want[p.Namespace+"/"+p.Name] = p.ResourceVersion
		}
		for !sameMap(seen, want) {
			select {
			case ev := <-events.ResultChan():
				p := ev.Object.(*corev1.Pod)
				key := p.Namespace + "/" + p.Name
				_, had := seen[key]
				if had != (ev.Type != "ADDED") {
					t.Fatalf("%+v: %s of %s, which was there: %v", opts, ev.Type, key, had)
				}
				if seen[key] = p.ResourceVersion; ev.Type == "DELETED" {
					delete(seen, key)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%+v: the watch shows %v, the list %v (last made %s)", opts, seen, want, made.ResourceVersion)
			}
		}
		events.Stop()
	}
}

func sameMap(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// Any scalar field can be selected by; what is none is refused in Kubernetes' words.
func TestAnyScalarField(t *testing.T) {
	c := newServer(t).Client(admin)
	pods, services := client.For[*corev1.Pod](c), client.For[*corev1.Service](c)
	p := testPod("p")
	grace, yes := int64(7), true
	p.Spec.TerminationGracePeriodSeconds, p.Spec.HostNetwork, p.Spec.SchedulerName = &grace, false, "mine"
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes}
	p.Spec.NodeSelector = map[string]string{"example.com/disk": "ssd"}
	made, err := pods.Create(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Create(t.Context(), testPod("q")); err != nil {
		t.Fatal(err)
	}
	for _, selector := range []string{
		"spec.terminationGracePeriodSeconds=7", "spec.schedulerName=mine", "spec.securityContext.runAsNonRoot=true",
		"spec.nodeSelector.example.com/disk=ssd", "spec.nodeSelector.example.com/disk!=", "metadata.uid=" + string(made.UID),
		"metadata.name=p,spec.hostNetwork=false", "metadata.labels.app=p",
		"metadata.creationTimestamp=" + fields.EscapeValue(made.CreationTimestamp.UTC().Format(time.RFC3339)) + ",spec.schedulerName=mine",
	} {
		l, err := pods.List(t.Context(), "", metav1.ListOptions{FieldSelector: selector})
		if err != nil || len(l.Items) != 1 || l.Items[0].Name != "p" {
			t.Errorf("%s: %v, error %v", selector, podNames(l.Items), err)
		}
	}
	for _, selector := range []string{"spec=x", "spec.containers=x", "spec.nosuch=x", "spec.containers.name=x", "spec.nodeSelector=x", "spec.schedulerName.x=y", "Spec.schedulerName=x"} {
		_, err := pods.List(t.Context(), "", metav1.ListOptions{FieldSelector: selector})
		want := "field label not supported: " + selector[:strings.IndexByte(selector, '=')]
		if !apierrors.IsBadRequest(err) || err.Error() != want {
			t.Errorf("%s: %v", selector, err)
		}
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	svc.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	if _, err := services.Create(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	l, err := services.List(t.Context(), "default", metav1.ListOptions{FieldSelector: "spec.sessionAffinity=None"})
	if err != nil || len(l.Items) != 1 {
		t.Errorf("services: %d, error %v", len(l.Items), err)
	}
}

// An index is there from the second list on that selects by something, and goes when no list uses it any more.
func TestIndexesComeAndGo(t *testing.T) {
	s := newServer(t)
	pods := client.For[*corev1.Pod](s.Client(admin))
	fillPods(t, pods, 130)
	list := func(wantIndex bool) {
		t.Helper()
		l, err := pods.List(t.Context(), "", metav1.ListOptions{LabelSelector: "app=a1"})
		if err != nil || len(l.Items) != 3 {
			t.Fatalf("%d pods, error %v", len(l.Items), err)
		}
		if got := s.HasIndex(&corev1.Pod{}); got != wantIndex {
			t.Errorf("there is an index: %v, want %v", got, wantIndex)
		}
	}
	list(false)
	list(true)
	s.ReleaseIndexes()
	list(true)
	s.ReleaseIndexes()
	s.ReleaseIndexes()
	if s.HasIndex(&corev1.Pod{}) {
		t.Error("an index that nobody uses is kept")
	}
	list(false)
	list(true)
}
