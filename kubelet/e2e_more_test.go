package kubelet_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/kubelet"
)

// events waits until the object has an event of each reason whose message has the given text.
func (n *node) events(name string, want map[string]string) {
	n.t.Helper()
	evs := client.For[*corev1.Event](n.c)
	var seen []string
	for range 100 {
		list, err := evs.List(context.Background(), "", metav1.ListOptions{})
		if err != nil {
			n.t.Fatal(err)
		}
		seen = nil
		missing := len(want)
		found := map[string]bool{}
		for _, e := range list.Items {
			if e.InvolvedObject.Name != name {
				continue
			}
			seen = append(seen, fmt.Sprintf("%s %s %s: %s", e.Type, e.InvolvedObject.FieldPath, e.Reason, e.Message))
			if text, ok := want[e.Reason]; ok && strings.Contains(e.Message, text) && !found[e.Reason] {
				found[e.Reason] = true
				missing--
			}
		}
		if missing == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond) // events are written in the background
	}
	n.t.Errorf("events of %s lack some of %v:\n%s", name, want, strings.Join(seen, "\n"))
}

// logs returns a container's log through the kubelet's API.
func (n *node) logs(path string) (int, string) {
	n.t.Helper()
	rec := httptest.NewRecorder()
	n.k.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	b, err := io.ReadAll(rec.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return rec.Code, string(b)
}

func TestNodeIsRegistered(t *testing.T) {
	c := apitest.Open(t).Admin()
	n := startNode(t, c, func(cfg *kubelet.Config) {
		cfg.Labels = map[string]string{"zone": "a"}
		cfg.Taints = []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoSchedule}}
		cfg.Reserved = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	})
	node, err := client.For[*corev1.Node](c).Get(context.Background(), "", "node-a")
	if err != nil {
		t.Fatal(err)
	}
	if node.Labels["zone"] != "a" || node.Labels[corev1.LabelHostname] != "node-a" || node.Labels[corev1.LabelOSStable] != "linux" || len(node.Spec.Taints) == 0 {
		t.Errorf("node: %v %v", node.Labels, node.Spec.Taints)
	}
	for _, cond := range node.Status.Conditions {
		want := corev1.ConditionFalse
		if cond.Type == corev1.NodeReady {
			want = corev1.ConditionTrue
		}
		if cond.Status != want && cond.Type != corev1.NodeDiskPressure {
			t.Errorf("condition: %+v", cond)
		}
	}
	if len(node.Status.Conditions) != 4 || node.Status.Capacity.Pods().Value() != 110 ||
		node.Status.Allocatable.Memory().Cmp(*node.Status.Capacity.Memory()) >= 0 ||
		!strings.HasPrefix(node.Status.NodeInfo.ContainerRuntimeVersion, "process://") || len(node.Status.Images) != 1 {
		t.Errorf("status: %+v", node.Status)
	}
	lease, err := client.For[*coordinationv1.Lease](c).Get(context.Background(), "kube-node-lease", "node-a")
	if err != nil || *lease.Spec.LeaseDurationSeconds != 40 || *lease.Spec.HolderIdentity != "node-a" || lease.OwnerReferences[0].UID != node.UID {
		t.Errorf("lease: %+v, %v", lease, err)
	}
	n.events("node-a", map[string]string{"Starting": "Starting kubelet.", "NodeReady": "Node node-a status is now: NodeReady"})
}

func TestCrashingPod(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	p := pod("crash", "exit", "3", "the", "last", "words")
	p.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	n.create(p)
	got := n.await("crash", "in CrashLoopBackOff", func(p *corev1.Pod) bool {
		return p != nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	cs := got.Status.ContainerStatuses[0]
	last := cs.LastTerminationState.Terminated
	if cs.RestartCount != 1 || last == nil || last.ExitCode != 3 || last.Reason != "Error" || last.Message != "the last words\n" {
		t.Errorf("status: %+v", cs)
	}
	n.events("crash", map[string]string{"BackOff": "Back-off restarting failed container main in pod crash_default(",
		"Pulled": `Container image "registry.test/cell:v1" already present on machine`, "Created": "Created container: main", "Started": "Started container main"})
	for path, want := range map[string]string{"?previous=true": "the last words\n", "?tailLines=1": "the last words\n", "?limitBytes=3": "the"} {
		if code, text := n.logs("/containerLogs/default/crash/main" + path); code != 200 || text != want {
			t.Errorf("logs%s: %d %q", path, code, text)
		}
	}
	if code, _ := n.logs("/containerLogs/default/crash/other"); code != 404 {
		t.Errorf("logs of no container: %d", code)
	}
	if code, _ := n.logs("/containerLogs/default/none/main"); code != 404 {
		t.Errorf("logs of no pod: %d", code)
	}
	if code, _ := n.logs("/containerLogs/default/crash/main?tailLines=x"); code != 400 {
		t.Errorf("bad tailLines: %d", code)
	}
	n.delete("crash")
	n.await("crash", "gone", gone)
}

func TestImageTrouble(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	for name, c := range map[string]struct {
		image  string
		policy corev1.PullPolicy
		want   string
		events map[string]string
	}{
		"refused": {"127.0.0.1:1/x:v1", corev1.PullIfNotPresent, "ImagePullBackOff", map[string]string{"Pulling": `Pulling image "127.0.0.1:1/x:v1"`, "Failed": "", "BackOff": `Back-off pulling image "127.0.0.1:1/x:v1"`}},
		"never":   {"registry.test/none:v1", corev1.PullNever, "ErrImageNeverPull", map[string]string{"ErrImageNeverPull": `Container image "registry.test/none:v1" is not present with pull policy of Never`}},
		"badname": {"UPPER case", corev1.PullIfNotPresent, "InvalidImageName", map[string]string{"InspectFailed": "invalid reference format"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod(name, "sleep")
			p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = c.image, c.policy
			n.create(p)
			n.await(name, c.want, func(p *corev1.Pod) bool {
				return p != nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
					p.Status.ContainerStatuses[0].State.Waiting.Reason == c.want
			})
			n.events(name, c.events)
			n.delete(name)
			n.await(name, "gone", gone)
		})
	}
}

func TestLivenessRestarts(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	p := pod("live", "serve", "8081")
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/file/tmp/none", Port: intstr.FromInt32(8081)}}}
	n.create(p)
	n.await("live", "restarted", func(p *corev1.Pod) bool {
		return p != nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	n.events("live", map[string]string{"Unhealthy": "Liveness probe failed: ", "Killing": "Container main failed liveness probe, will be restarted"})
}

func TestVolumesAndEnv(t *testing.T) {
	c := apitest.Open(t).Admin()
	ctx := context.Background()
	maps := client.For[*corev1.ConfigMap](c)
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "conf"}, Data: map[string]string{"a": "1\n", "b": "2\n"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.For[*corev1.Secret](c).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sec"}, Data: map[string][]byte{"key": []byte("s3cret\n")}}); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, c, nil)
	p := pod("vols")
	p.Labels = map[string]string{"app": "x"}
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	yes := true
	p.Spec.Volumes = []corev1.Volume{
		{Name: "conf", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "conf"}}}},
		{Name: "opt", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: &yes}}},
		{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "sec"}, Items: []corev1.KeyToPath{{Key: "key", Path: "sub/k"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}},
		{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	main := &p.Spec.Containers[0]
	main.VolumeMounts = []corev1.VolumeMount{{Name: "conf", MountPath: "/conf"}, {Name: "all", MountPath: "/all"},
		{Name: "empty", MountPath: "/empty"}, {Name: "opt", MountPath: "/opt"}}
	main.Env = []corev1.EnvVar{
		{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "spec.nodeName"}}},
		{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "sec"}, Key: "key"}}},
		{Name: "BOTH", Value: "$(NODE)/$(SECRET)"},
	}
	main.Args = []string{"cat", "/conf/a", "/conf/b", "/all/sub/k", "/all/labels"}
	env := *main.DeepCopy()
	env.Name, env.Args = "env", []string{"env", "BOTH", "POD_IP"}
	p.Spec.Containers = append(p.Spec.Containers, env)
	n.create(p)
	got := n.await("vols", "succeeded", func(p *corev1.Pod) bool {
		return p != nil && (p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed)
	})
	if _, text := n.logs("/containerLogs/default/vols/main"); text != "1\n2\ns3cret\napp=\"x\"" {
		// the log adds the newline that the last file lacks
		if text != "1\n2\ns3cret\napp=\"x\"\n" {
			t.Errorf("%s %q", got.Status.Phase, text)
		}
	}
	if _, text := n.logs("/containerLogs/default/vols/env"); !strings.HasPrefix(text, "node-a/s3cret\n") {
		t.Errorf("env: %q", text)
	}
}

func TestFailedMount(t *testing.T) {
	c := apitest.Open(t).Admin()
	n := startNode(t, c, nil)
	p := pod("mount", "sleep")
	p.Spec.Volumes = []corev1.Volume{
		{Name: "conf", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "late"}}}},
	}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "conf", MountPath: "/conf"}}
	n.create(p)
	n.events("mount", map[string]string{"FailedMount": `MountVolume.SetUp failed for volume "conf" : configmap "late" not found`})
	if _, err := client.For[*corev1.ConfigMap](c).Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "late"}}); err != nil {
		t.Fatal(err)
	}
	n.await("mount", "ready", ready)
	q := pod("nfs", "sleep")
	q.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}}}}
	q.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	n.create(q)
	n.events("nfs", map[string]string{"FailedMount": "volume type NFS is not supported"})
	n.delete("nfs")
	n.await("nfs", "gone", gone)
}

func TestRejectedPods(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), func(c *kubelet.Config) {
		c.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
	})
	p := pod("big", "sleep")
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
	n.create(p)
	got := n.await("big", "failed", phase(corev1.PodFailed))
	if got.Status.Reason != "OutOfcpu" || got.Status.Message != "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 0, capacity: 2000" {
		t.Errorf("status: %s", describe(got))
	}
	p = pod("elsewhere", "sleep")
	p.Spec.NodeSelector = map[string]string{"zone": "b"}
	n.create(p)
	if got := n.await("elsewhere", "failed", phase(corev1.PodFailed)); got.Status.Reason != "NodeAffinity" {
		t.Errorf("status: %s", describe(got))
	}
	n.delete("big")
	n.await("big", "gone", gone)
}

func TestGraceAndHooks(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	dir := t.TempDir()
	p := pod("hooks", "stubborn")
	one := int64(1)
	p.Spec.TerminationGracePeriodSeconds = &one
	p.Spec.Volumes = []corev1.Volume{{Name: "d", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "d", MountPath: "/d"}}
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/cell", "write", "/d/begun", "x"}}},
		PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/cell", "write", "/d/ended", "x"}}},
	}
	n.create(p)
	n.await("hooks", "ready", ready)
	if _, err := os.Stat(filepath.Join(dir, "begun")); err != nil {
		t.Errorf("postStart: %v", err)
	}
	began := time.Now()
	n.delete("hooks")
	got := n.await("hooks", "gone", gone)
	if took := time.Since(began); took < time.Second {
		t.Errorf("gone after %v, before its grace period was over", took)
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Errorf("preStop: %v", err)
	}
	if term := got.Status.ContainerStatuses[0].State.Terminated; term == nil || term.ExitCode != 137 {
		t.Errorf("last status: %s", describe(got))
	}
	n.events("hooks", map[string]string{"Killing": "Stopping container main"})
}

func TestRestartOfTheKubelet(t *testing.T) {
	c := apitest.Open(t).Admin()
	n := startNode(t, c, nil)
	n.create(pod("stays", "sleep"))
	job := pod("done", "exit", "0")
	job.Spec.RestartPolicy = corev1.RestartPolicyNever
	n.create(job)
	before := n.await("stays", "ready", ready)
	n.await("done", "succeeded", phase(corev1.PodSucceeded))
	began := time.Now()
	n.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}
	n = startNode(t, c, nil)
	after := n.await("stays", "running again", func(p *corev1.Pod) bool {
		return ready(p) && p.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID
	})
	if cs := after.Status.ContainerStatuses[0]; cs.RestartCount != 1 || cs.LastTerminationState.Terminated == nil || cs.LastTerminationState.Terminated.ExitCode != 137 {
		t.Errorf("status: %+v", cs)
	}
	if p := n.await("done", "still succeeded", phase(corev1.PodSucceeded)); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("a pod that was done ran again: %s", describe(p))
	}
	n.delete("done")
	n.await("done", "gone", gone)
}

func TestStopLeavesNothing(t *testing.T) {
	var dir string
	n := startNode(t, apitest.Open(t).Admin(), func(c *kubelet.Config) { dir = c.Dir })
	for i := range 5 {
		n.create(pod(fmt.Sprint("p", i), "stubborn"))
	}
	for i := range 5 {
		n.await(fmt.Sprint("p", i), "ready", ready)
	}
	began := time.Now()
	n.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the kubelet's folder: %v, %v", left, err)
	}
}

func TestShorterGraceIsObeyed(t *testing.T) {
	n := startNode(t, apitest.Open(t).Admin(), nil)
	p := pod("long", "stubborn")
	hour := int64(3600)
	p.Spec.TerminationGracePeriodSeconds = &hour
	n.create(p)
	n.await("long", "ready", ready)
	n.delete("long")
	n.await("long", "about to go", func(p *corev1.Pod) bool { return p != nil && p.DeletionTimestamp != nil })
	one := int64(1)
	if err := n.pods.Delete(context.Background(), "default", "long", metav1.DeleteOptions{GracePeriodSeconds: &one}); err != nil {
		t.Fatal(err)
	}
	n.await("long", "gone", gone)
}

func TestServicesInTheEnvironment(t *testing.T) {
	c := apitest.Open(t).Admin()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "my-db"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.77", Ports: []corev1.ServicePort{{Name: "sql", Port: 5432, Protocol: corev1.ProtocolTCP}}}}
	if _, err := client.For[*corev1.Service](c).Create(context.Background(), svc); err != nil {
		t.Skip("the API server takes no service here: ", err)
	}
	n := startNode(t, c, nil)
	p := pod("links", "env", "MY_DB_SERVICE_HOST", "MY_DB_SERVICE_PORT", "MY_DB_SERVICE_PORT_SQL", "MY_DB_PORT", "MY_DB_PORT_5432_TCP_ADDR")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	n.create(p)
	n.await("links", "succeeded", phase(corev1.PodSucceeded))
	if _, text := n.logs("/containerLogs/default/links/main"); text != "10.96.0.77\n5432\n5432\ntcp://10.96.0.77:5432\n10.96.0.77\n" {
		t.Errorf("environment: %q", text)
	}
}
