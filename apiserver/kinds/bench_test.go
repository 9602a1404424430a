package kinds_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/kinds/core"
)

const benchPod = `
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
`

// BenchmarkCreate is what a row costs a server when a pod is made: defaults, preparation, checks.
func BenchmarkCreate(b *testing.B) {
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal([]byte(benchPod), pod); err != nil {
		b.Fatal(err)
	}
	k := core.Pod()
	b.ReportAllocs()
	for b.Loop() {
		if errs := create(k, pod); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

// BenchmarkRow is what a line of kubectl get pods costs.
func BenchmarkRow(b *testing.B) {
	pod := &corev1.Pod{}
	if err := yaml.Unmarshal([]byte(benchPod), pod); err != nil {
		b.Fatal(err)
	}
	k := core.Pod()
	b.ReportAllocs()
	for b.Loop() {
		k.Row(pod, now)
	}
}
