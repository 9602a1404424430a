package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/scheduler/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gather returns all values; that of a histogram is how much was observed.
func gather(t testing.TB, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	check(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// cluster is an API server in memory with a scheduler whose metrics are gathered.
type cluster struct {
	*testing.T
	client client.Interface
	reg    *prometheus.Registry
	stop   func()
}

// failing fails to bind pods of one name.
type failing struct {
	client.Interface
	name string
}

func (f failing) Create(ctx context.Context, ref client.Ref, obj runtime.Object, o metav1.CreateOptions) (runtime.Object, error) {
	if ref.Subresource == "binding" && ref.Name == f.name {
		return nil, errors.New("no luck")
	}
	return f.Interface.Create(ctx, ref, obj, o)
}

func start(t *testing.T, cfg scheduler.Config) *cluster {
	t.Helper()
	c := &cluster{T: t, client: apitest.Open(t).Admin(), reg: prometheus.NewRegistry()}
	m, err := metrics.Open(metrics.Config{Registerer: c.reg})
	check(t, err)
	cfg.Client, cfg.Events = failing{c.client, "unlucky"}, m.Events()
	s, err := scheduler.New(cfg)
	check(t, err)
	m.Observe(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	c.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(c.stop)
	<-s.Ready()
	return c
}

func (c *cluster) addNode(name, cpu string) {
	c.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourcePods: resource.MustParse("110")}
	n.Status.Capacity = n.Status.Allocatable
	nodes := client.For[*corev1.Node](c.client)
	made, err := nodes.Create(c.Context(), n)
	check(c, err)
	made.Status = n.Status
	_, err = nodes.UpdateStatus(c.Context(), made)
	check(c, err)
}

// addPod creates a pod that asks for processors, after change, which may be nil.
func (c *cluster) addPod(name, cpu string, change func(*corev1.PodSpec)) {
	c.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "nginx",
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}
	p.Spec.TerminationGracePeriodSeconds = new(int64) // there is no kubelet to end it
	if change != nil {
		change(&p.Spec)
	}
	_, err := client.For[*corev1.Pod](c.client).Create(c.Context(), p)
	check(c, err)
}

func (c *cluster) deletePods(names ...string) {
	c.Helper()
	for _, name := range names {
		check(c, client.For[*corev1.Pod](c.client).Delete(c.Context(), "default", name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	}
}

// wait waits until the given metrics are what they should be. Names go without the prefix.
func (c *cluster) wait(what string, want map[string]float64) {
	c.Helper()
	wrong := map[string]float64{}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got := gather(c, c.reg)
		clear(wrong)
		for name, value := range want {
			if got["scheduler_"+name] != value {
				wrong[name] = got["scheduler_"+name]
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	c.Fatalf("%s: not as wanted are %v; want %v", what, wrong, want)
}

// TestMetrics follows the figures through a day of a small cluster.
func TestMetrics(t *testing.T) {
	// Back-offs are longer than the test, so that nothing is tried twice unless something happened.
	c := start(t, scheduler.Config{InitialBackoff: time.Hour})
	_, err := client.For[*schedulingv1.PriorityClass](c.client).Create(t.Context(), &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000})
	check(t, err)
	c.addNode("node-1", "4")
	c.wait("a node", map[string]float64{"cache_size type=nodes": 1})

	const point, ok = "framework_extension_point_duration_seconds extension_point=", " profile=default-scheduler status=Success"
	const noRoom, gate = "unschedulable_pods plugin=NodeResourcesFit profile=default-scheduler", "unschedulable_pods plugin=SchedulingGates profile=default-scheduler"
	const scheduled, unschedulable, failed = "profile=default-scheduler result=scheduled", "profile=default-scheduler result=unschedulable", "profile=default-scheduler result=error"
	c.addPod("a", "1", nil)
	c.addPod("b", "1", nil)
	c.wait("bound", map[string]float64{
		"schedule_attempts_total " + scheduled: 2, "scheduling_attempt_duration_seconds " + scheduled: 2,
		"scheduling_algorithm_duration_seconds": 2, "pod_scheduling_attempts": 2, "pod_scheduling_sli_duration_seconds attempts=1": 2,
		"cache_size type=pods": 2, "cache_size type=assumed_pods": 0, "goroutines operation=binding": 0, "preemption_attempts_total": 0,
		"queue_incoming_pods_total event=UnscheduledPodAdd queue=active": 2,
		point + "PreFilter" + ok: 2, point + "Filter" + ok: 2, point + "Reserve" + ok: 2, point + "Permit" + ok: 2,
	})

	c.addPod("huge", "64", nil)
	c.wait("refused", map[string]float64{
		"schedule_attempts_total " + unschedulable: 1, "scheduling_attempt_duration_seconds " + unschedulable: 1,
		"pending_pods queue=unschedulable": 1, "scheduling_algorithm_duration_seconds": 3, "preemption_attempts_total": 1, "preemption_victims": 0,
		noRoom: 1, "queue_incoming_pods_total event=ScheduleAttemptFailure queue=unschedulable": 1,
		point + "PostFilter profile=default-scheduler status=Unschedulable": 1,
	})

	c.addPod("gated", "1", func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}} })
	c.wait("gated", map[string]float64{gate: 1, "queue_incoming_pods_total event=UnscheduledPodAdd queue=unschedulable": 1, "pending_pods queue=gated": 1, "schedule_attempts_total " + scheduled: 2, "schedule_attempts_total " + unschedulable: 1})

	c.addPod("unlucky", "1", nil)
	c.wait("not bound", map[string]float64{
		"schedule_attempts_total " + failed: 1, "scheduling_attempt_duration_seconds " + failed: 1,
		"queue_incoming_pods_total event=ScheduleAttemptFailure queue=backoff": 1,
		"pending_pods queue=backoff": 1, "cache_size type=assumed_pods": 0, "scheduling_algorithm_duration_seconds": 4,
	})
	c.deletePods("unlucky", "huge")

	// Two of one processor have to go for one of four. It is tried twice.
	c.addPod("boss", "4", func(s *corev1.PodSpec) { s.PriorityClassName = "high" })
	c.wait("preempted", map[string]float64{
		"preemption_attempts_total": 2, "preemption_victims": 1, "schedule_attempts_total " + unschedulable: 2,
		"schedule_attempts_total " + scheduled: 3, "pod_scheduling_attempts": 3,
		"pod_scheduling_sli_duration_seconds attempts=1": 2, "pod_scheduling_sli_duration_seconds attempts=2": 1,
		"cache_size type=pods": 1,
	})
	families, err := c.reg.Gather()
	check(t, err)
	for _, f := range families {
		if got := f.GetMetric()[0].GetHistogram().GetSampleSum(); f.GetName() == "scheduler_preemption_victims" && got != 2 {
			t.Errorf("%v pods were preempted", got)
		}
	}

	c.deletePods("boss", "gated")
	c.wait("empty", map[string]float64{
		noRoom: 0, gate: 0,
		"pending_pods queue=active": 0, "pending_pods queue=backoff": 0, "pending_pods queue=unschedulable": 0, "pending_pods queue=gated": 0,
		"cache_size type=nodes": 1, "cache_size type=pods": 0, "cache_size type=assumed_pods": 0, "goroutines operation=binding": 0,
	})
	c.stop()
	c.wait("stopped", map[string]float64{"cache_size type=nodes": 0})
}

// TestProfiles tells schedulers' names apart.
func TestProfiles(t *testing.T) {
	p, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	check(t, err)
	c := start(t, scheduler.Config{Profiles: map[string]*scheduler.Profile{"one": p, "two": p}})
	c.addNode("node-1", "4")
	c.wait("a node", map[string]float64{"cache_size type=nodes": 1})
	for _, name := range []string{"one", "two", "other"} {
		c.addPod(name, "1", func(s *corev1.PodSpec) { s.SchedulerName = name })
	}
	c.wait("bound", map[string]float64{
		"schedule_attempts_total profile=one result=scheduled": 1, "schedule_attempts_total profile=two result=scheduled": 1,
		"schedule_attempts_total profile=other result=scheduled": 0, "pod_scheduling_attempts": 2,
	})
}

// holding keeps pods waiting on their nodes.
type holding struct{}

func (holding) Name() string { return "Holding" }

func (holding) Permit(*scheduler.Cycle, any, *scheduler.NodeInfo) (*scheduler.Status, time.Duration) {
	return scheduler.NewStatus(scheduler.Wait), time.Hour
}

// TestPermit: a pod that waits on its node is assumed, and its attempt is under way until it is no more.
func TestPermit(t *testing.T) {
	p, err := scheduler.NewProfile(scheduler.ProfileConfig{Plugins: append(scheduler.DefaultPlugins(), scheduler.WeightedPlugin{Plugin: holding{}})})
	check(t, err)
	c := start(t, scheduler.Config{Profiles: map[string]*scheduler.Profile{scheduler.DefaultSchedulerName: p}})
	c.addNode("node-1", "4")
	c.wait("a node", map[string]float64{"cache_size type=nodes": 1})
	c.addPod("held", "1", nil)
	const unschedulable = "schedule_attempts_total profile=default-scheduler result=unschedulable"
	c.wait("held", map[string]float64{"cache_size type=pods": 1, "cache_size type=assumed_pods": 1, "scheduling_algorithm_duration_seconds": 1,
		unschedulable: 0, "pending_pods queue=active": 0})
	c.deletePods("held")
	c.wait("gone", map[string]float64{"cache_size type=pods": 0, "cache_size type=assumed_pods": 0, unschedulable: 1, "pod_scheduling_attempts": 0})
}

// TestAttempts counts what it is told.
func TestAttempts(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := metrics.Open(metrics.Config{Registerer: reg, Labels: prometheus.Labels{"cluster": "a"}})
	check(t, err)
	ev := m.Events()
	for _, n := range []int{1, 14, 15, 200} {
		ev.Attempted(scheduler.Attempt{SchedulerName: "s", Result: scheduler.AttemptScheduled, Number: n, Took: time.Second, Queued: time.Minute})
	}
	ev.Attempted(scheduler.Attempt{SchedulerName: "s", Result: scheduler.AttemptError, Number: 3})
	want := map[string]float64{
		"scheduler_schedule_attempts_total cluster=a profile=s result=scheduled":             4,
		"scheduler_schedule_attempts_total cluster=a profile=s result=error":                 1,
		"scheduler_scheduling_attempt_duration_seconds cluster=a profile=s result=scheduled": 4,
		"scheduler_scheduling_attempt_duration_seconds cluster=a profile=s result=error":     1,
		"scheduler_pod_scheduling_attempts cluster=a":                                        4,
		"scheduler_pod_scheduling_sli_duration_seconds attempts=1 cluster=a":                 1,
		"scheduler_pod_scheduling_sli_duration_seconds attempts=14 cluster=a":                1,
		"scheduler_pod_scheduling_sli_duration_seconds attempts=15+ cluster=a":               2,
		"scheduler_preemption_attempts_total cluster=a":                                      0,
		"scheduler_preemption_victims cluster=a":                                             0,
		"scheduler_scheduling_algorithm_duration_seconds cluster=a":                          0,
	}
	if got := gather(t, reg); !maps.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	if _, err := metrics.Open(metrics.Config{Registerer: reg, Labels: prometheus.Labels{"cluster": "a"}}); err == nil {
		t.Error("registered twice")
	}
	check(t, m.Close())
	if m.Close() == nil {
		t.Error("closed twice")
	}
	if _, err := metrics.Open(metrics.Config{}); err == nil {
		t.Error("opened without a registerer")
	}
	if left := gather(t, reg); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}
