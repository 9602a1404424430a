package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
)

// cluster is an API server in memory, and what tests do with it.
type cluster struct {
	t   testing.TB
	c   client.Interface
	api *apitest.Server
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	api := apitest.Open(t)
	return &cluster{t: t, c: api.Admin(), api: api}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a scheduler until the test ends or the returned function is called.
func (c *cluster) start(cfg scheduler.Config) (stop func()) {
	c.t.Helper()
	if cfg.Client == nil {
		cfg.Client = c.c
	}
	s, err := scheduler.New(cfg)
	check(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				c.t.Errorf("Run: %v", err)
			}
		})
	}
	c.t.Cleanup(stop)
	<-s.Ready()
	return stop
}

func (c *cluster) addNode(name, cpu string) {
	c.t.Helper()
	c.addNodeInZone(name, cpu, "")
}

func (c *cluster) addNodeInZone(name, cpu, zone string) {
	c.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	if zone != "" {
		n.Labels[corev1.LabelTopologyZone] = zone
	}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("64Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	n.Status.Capacity = n.Status.Allocatable
	nodes := client.For[*corev1.Node](c.c)
	made, err := nodes.Create(context.Background(), n)
	check(c.t, err)
	if made.Status.Allocatable == nil {
		made.Status = n.Status
		_, err = nodes.UpdateStatus(context.Background(), made)
		check(c.t, err)
	}
}

func newPod(name, cpu string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx",
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}},
	}
}

func (c *cluster) addPod(p *corev1.Pod) *corev1.Pod {
	c.t.Helper()
	made, err := client.For[*corev1.Pod](c.c).Create(context.Background(), p)
	check(c.t, err)
	return made
}

func (c *cluster) deletePod(name string) {
	c.t.Helper()
	check(c.t, client.For[*corev1.Pod](c.c).Delete(context.Background(), "default", name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
}

// wait returns the pod once it is as asked for, which a watch tells.
func (c *cluster) wait(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := client.For[*corev1.Pod](c.c).Watch(ctx, "default", metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	check(c.t, err)
	defer w.Stop()
	var last *corev1.Pod
	for ev := range w.ResultChan() {
		if p, is := ev.Object.(*corev1.Pod); is {
			if last = p; ok(p) {
				return p
			}
		}
	}
	text, _ := json.Marshal(last)
	c.t.Fatalf("pod %s did not get %s: %s", name, what, text)
	return nil
}

func (c *cluster) waitBound(name string) string {
	c.t.Helper()
	return c.wait(name, "a node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" }).Spec.NodeName
}

func (c *cluster) waitRefused(name, reason string) string {
	c.t.Helper()
	p := c.wait(name, "a condition of reason "+reason, func(p *corev1.Pod) bool { return condition(p).Reason == reason })
	if got := condition(p); got.Status != corev1.ConditionFalse {
		c.t.Errorf("condition is %+v", got)
	}
	return condition(p).Message
}

// waitMessage waits until a pod's condition has the reason and the message. An earlier message may be of before the
// scheduler knew of all that the test has made: kinds come by watches of their own.
func (c *cluster) waitMessage(name, reason, message string) {
	c.t.Helper()
	p := c.wait(name, fmt.Sprintf("a condition of reason %s and message %q", reason, message), func(p *corev1.Pod) bool {
		return condition(p).Reason == reason && condition(p).Message == message
	})
	if got := condition(p); got.Status != corev1.ConditionFalse {
		c.t.Errorf("condition is %+v", got)
	}
}

// waitAny returns the first of two pods that is refused with the given message.
func (c *cluster) waitAny(a, b, message string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := client.For[*corev1.Pod](c.c).Watch(ctx, "default", metav1.ListOptions{})
	check(c.t, err)
	defer w.Stop()
	for ev := range w.ResultChan() {
		if p, ok := ev.Object.(*corev1.Pod); ok && (p.Name == a || p.Name == b) && condition(p).Message == message {
			return p.Name
		}
	}
	c.t.Fatalf("neither %s nor %s was refused with %q", a, b, message)
	return ""
}

func condition(p *corev1.Pod) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return c
		}
	}
	return corev1.PodCondition{}
}

// waitEvent returns the first event of the given reason about a pod.
func (c *cluster) waitEvent(pod, reason string) *corev1.Event {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := client.For[*corev1.Event](c.c).Watch(ctx, "default", metav1.ListOptions{})
	check(c.t, err)
	defer w.Stop()
	for ev := range w.ResultChan() {
		if e, ok := ev.Object.(*corev1.Event); ok && e.InvolvedObject.Name == pod && e.Reason == reason {
			return e
		}
	}
	c.t.Fatalf("no event %s about %s", reason, pod)
	return nil
}

// used returns the millicores that pods on a node ask for.
func (c *cluster) used() map[string]int64 {
	c.t.Helper()
	pods, err := client.For[*corev1.Pod](c.c).List(context.Background(), "", metav1.ListOptions{})
	check(c.t, err)
	out := map[string]int64{}
	for _, p := range pods.Items {
		if p.Spec.NodeName != "" {
			out[p.Spec.NodeName] += p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
		}
	}
	return out
}

// faulty is a client whose writes fail when fail says so.
type faulty struct {
	client.Interface
	fail  func(ref client.Ref) error
	binds atomic.Int64
	mu    sync.Mutex
	order []string
	times []time.Time
}

func (f *faulty) Create(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.CreateOptions) (runtime.Object, error) {
	if ref.Subresource == "binding" {
		f.binds.Add(1)
		f.mu.Lock()
		f.order, f.times = append(f.order, ref.Name), append(f.times, time.Now())
		f.mu.Unlock()
		if f.fail != nil {
			if err := f.fail(ref); err != nil {
				return nil, err
			}
		}
	}
	return f.Interface.Create(ctx, ref, obj, o)
}

func (f *faulty) bindOrder() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

func patch(t testing.TB, c client.Interface, name, patch string) {
	t.Helper()
	_, err := client.For[*corev1.Pod](c).Patch(context.Background(), "default", name, types.StrategicMergePatchType, []byte(patch), "")
	check(t, err)
}

func podNames(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%d", prefix, i))
	}
	return out
}

// counting counts the attempts to place each pod.
type counting struct {
	mu sync.Mutex
	n  map[string]int
}

func (*counting) Name() string { return "Counting" }

func (p *counting) PreFilter(c *scheduler.Cycle) (scheduler.PreFilterResult, *scheduler.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == nil {
		p.n = map[string]int{}
	}
	p.n[c.Pod.Pod.Name]++
	return scheduler.PreFilterResult{Skip: true}, nil
}

func (p *counting) count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[name]
}
