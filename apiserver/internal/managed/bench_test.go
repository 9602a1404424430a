package managed_test

import (
	"fmt"
	"testing"

	"github.com/inboard/inboard/apiserver/internal/managed"
	"github.com/inboard/inboard/apiserver/kinds/core"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const benchPod = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: web
    image: nginx:1.27
    ports: [{name: http, containerPort: 80}]
    env: [{name: A, value: b}]
    resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 100m}}
    readinessProbe: {httpGet: {path: /healthz, port: http}}
    volumeMounts: [{name: config, mountPath: /etc/config}]
  volumes: [{name: config, configMap: {name: web}}]
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}]
  conditions:
  - {type: Ready, status: "True"}
  - {type: Initialized, status: "True"}
  containerStatuses:
  - {name: web, ready: true, image: nginx, imageID: xx, containerID: foo, restartCount: 0, state: {running: {startedAt: "2026-01-01T00:00:00Z"}}}
`

func pod(t testing.TB) *corev1.Pod {
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal([]byte(benchPod), pod); err != nil {
		t.Fatal(err)
	}
	k := core.Pod()
	k.Default(pod)
	return pod
}

func types() (*managed.Manager, *managed.Manager) {
	k := core.Pod()
	t := managed.NewType(managed.Kind{GroupVersionKind: k.GroupVersionKind, Object: k.Object, Default: k.Default})
	return managed.NewManager(t, "", "status"),
		managed.NewManager(t, "status", "spec")
}

func BenchmarkCreate(b *testing.B) {
	m, _ := types()
	p := pod(b)
	empty := &corev1.Pod{}
	empty.APIVersion, empty.Kind = "v1", "Pod"
	b.ReportAllocs()
	for b.Loop() {
		p.ManagedFields = nil
		if err := m.Update(empty, p, "me"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatus(b *testing.B) {
	m, s := types()
	p := pod(b)
	empty := &corev1.Pod{}
	empty.APIVersion, empty.Kind = "v1", "Pod"
	if err := m.Update(empty, p, "me"); err != nil {
		b.Fatal(err)
	}
	p.UID = "x"
	old := p.DeepCopy()
	p.Status.Message = "hi"
	if err := s.Update(old, p, "kubelet"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		old := p.DeepCopy()
		p.Status.Message = fmt.Sprint(i)
		if err := s.Update(old, p, "kubelet"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSchema(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		m, _ := types()
		p := pod(b)
		empty := &corev1.Pod{}
		empty.APIVersion, empty.Kind = "v1", "Pod"
		if err := m.Update(empty, p, "me"); err != nil {
			b.Fatal(err)
		}
	}
}
