package kubelet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fakeSources are sources of plain data.
type fakeSources struct {
	maps    map[string]map[string]string
	secrets map[string]map[string][]byte
}

func (f fakeSources) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	if d, ok := f.maps[name]; ok {
		return &corev1.ConfigMap{Data: d}, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
}

func (f fakeSources) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if d, ok := f.secrets[name]; ok {
		return &corev1.Secret{Data: d}, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

func (fakeSources) Services(string) []*corev1.Service { return nil }

func (fakeSources) Token(context.Context, *corev1.Pod, string, int64) (string, error) {
	return "the-token", nil
}

func TestVolumesOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a tmpfs and giving files away needs root")
	}
	v := &volumes{dir: t.TempDir(), privileged: true, src: fakeSources{secrets: map[string]map[string][]byte{"s": {"k": []byte("v")}}}}
	gid, mode := int64(4711), int32(0o400)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{FSGroup: &gid},
		Volumes: []corev1.Volume{
			{Name: "mem", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
			{Name: "sec", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: &mode}}},
			{Name: "tok", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}}}},
		}}}
	t.Cleanup(func() { _ = unmountBelow(v.dir) })
	for range 2 { // the second time nothing changes
		if err := v.setUp(context.Background(), podFacts{Pod: pod}); err != nil {
			t.Fatal(err)
		}
	}
	mem, sec := v.path("u", &pod.Spec.Volumes[0]), v.path("u", &pod.Spec.Volumes[1])
	if !mounted(mem) || !mounted(sec) {
		t.Error("memory and secrets are not in a tmpfs")
	}
	info, err := os.Stat(filepath.Join(sec, "k"))
	if err != nil || info.Mode().Perm() != 0o440 || info.Sys().(*syscall.Stat_t).Gid != 4711 {
		t.Errorf("the secret's file: %v, %v", info, err)
	}
	if b, err := os.ReadFile(filepath.Join(v.path("u", &pod.Spec.Volumes[2]), "token")); err != nil || string(b) != "the-token" {
		t.Errorf("the token: %q, %v", b, err)
	}
	target := filepath.Join(v.podDir("u"), "volume-subpaths", "x", "y", "0")
	if got, err := v.subPath(mem, "sub/dir", target); err != nil || got != target || !mounted(target) {
		t.Errorf("subPath: %q, %v", got, err)
	}
	if err := v.tearDown("u"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(v.podDir("u")); !os.IsNotExist(err) || mounted(mem) || mounted(target) {
		t.Errorf("after tearDown: %v", err)
	}
}

func TestVolumeErrorsNameThings(t *testing.T) {
	v := &volumes{dir: t.TempDir(), src: fakeSources{maps: map[string]map[string]string{"m": {"a": "1"}}}}
	file := corev1.HostPathFile
	for want, src := range map[string]corev1.VolumeSource{
		`configmap "none" not found`: {ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}}},
		`secret "none" not found`:    {Secret: &corev1.SecretVolumeSource{SecretName: "none"}},
		`references non-existent config key: b`: {ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "m"}, Items: []corev1.KeyToPath{{Key: "b", Path: "x"}}}},
		`must`: {ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "m"}, Items: []corev1.KeyToPath{{Key: "a", Path: "../x"}}}},
		`hostPath type check failed: ` + v.dir + ` is not a file`: {HostPath: &corev1.HostPathVolumeSource{Path: v.dir, Type: &file}},
		`volume type CSI is not supported`:                        {CSI: &corev1.CSIVolumeSource{Driver: "d"}},
		`volume type PersistentVolumeClaim is not supported`:      {PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
		pod.Spec.Volumes = []corev1.Volume{{Name: "vol", VolumeSource: src}}
		err := v.setUp(context.Background(), podFacts{Pod: pod})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `MountVolume.SetUp failed for volume "vol" : `) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestTokensAreKept(t *testing.T) {
	var c tokenCache
	now := time.Unix(1000, 0)
	k := tokenKey{"u", "", 3600}
	c.put(k, "t", now, now.Add(100*time.Second))
	if got, ok := c.get(k, now.Add(79*time.Second)); !ok || got != "t" {
		t.Error("a fresh token was not kept")
	}
	if _, ok := c.get(k, now.Add(81*time.Second)); ok {
		t.Error("an old token was kept")
	}
	c.forget("u")
	if _, ok := c.get(k, now); ok {
		t.Error("the token of a pod that is gone was kept")
	}
}

func TestFieldsAndResources(t *testing.T) {
	pod := simPod(t, "containers: [{name: main, image: x, resources: {limits: {cpu: 1500m}, requests: {memory: 64Mi}}}]")
	pod.Labels = map[string]string{"b": "2", "a": "1"}
	f := podFacts{Pod: pod, NodeName: "n", PodIPs: []string{"10.0.0.1", "fd00::1"}, Allocatable: corev1.ResourceList{corev1.ResourceMemory: *pod.Spec.Containers[0].Resources.Requests.Memory()}}
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.labels": "a=\"1\"\nb=\"2\"", "metadata.labels['b']": "2",
		"status.podIP": "10.0.0.1", "status.podIPs": "10.0.0.1,fd00::1", "spec.nodeName": "n",
	} {
		if got, err := podField(f, path); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := podField(f, "spec.containers"); err == nil {
		t.Error("an unknown field has a value")
	}
	for name, want := range map[string]string{"limits.cpu": "2", "requests.memory": "67108864", "limits.memory": "67108864", "requests.cpu": "0"} {
		if got, err := resourceField(f, &pod.Spec.Containers[0], &corev1.ResourceFieldSelector{Resource: name}); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	r := containerResources(pod, &pod.Spec.Containers[0], 640<<20)
	if r.CPUShares != 1536 || r.CPUQuota != 150000 || r.CPUPeriod != 100000 || r.MemoryLimit != 0 || r.OOMScoreAdj != 900 {
		t.Errorf("resources: %+v", r)
	}
}

func TestResolvConf(t *testing.T) {
	host := parseResolvConf("# x\nnameserver 192.0.2.53\nsearch a.test b.test\noptions timeout:2\n")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}}
	d := podDNS(pod, []string{"10.96.0.10"}, "cluster.local", host)
	if strings.Join(d.Searches, " ") != "ns.svc.cluster.local svc.cluster.local cluster.local a.test b.test" || d.Servers[0] != "10.96.0.10" || d.Options[0] != "ndots:5" {
		t.Errorf("ClusterFirst: %+v", d)
	}
	two := "2"
	pod.Spec.DNSPolicy = corev1.DNSNone
	pod.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"1.1.1.1"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "edns0"}}}
	if d = podDNS(pod, []string{"10.96.0.10"}, "cluster.local", host); strings.Join(d.Servers, " ") != "1.1.1.1" || strings.Join(d.Options, " ") != "ndots:2 edns0" || d.Searches != nil {
		t.Errorf("None: %+v", d)
	}
	pod.Spec.DNSPolicy, pod.Spec.DNSConfig = corev1.DNSDefault, nil
	if d = podDNS(pod, []string{"10.96.0.10"}, "cluster.local", host); d.Servers[0] != "192.0.2.53" || d.Options[0] != "timeout:2" {
		t.Errorf("Default: %+v", d)
	}
}

// TestUnmountingSparesTheHost mounts a folder of the host in which another file system is mounted, as
// a pod with a hostPath and a subPath does, on a machine that shares its mounts, as those with systemd
// do.
func TestUnmountingSparesTheHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	host := t.TempDir()
	inner := filepath.Join(host, "sub", "inner")
	if err := mountTmpfs(host, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unmountBelow(host) })
	if err := unix.Mount("", host, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(inner, 0o755), mountTmpfs(inner, 0)); err != nil {
		t.Fatal(err)
	}
	v := &volumes{dir: t.TempDir(), privileged: true}
	target := filepath.Join(v.podDir("u"), "volume-subpaths", "x", "y", "0")
	if _, err := v.subPath(host, "sub", target); err != nil {
		t.Fatal(err)
	}
	if !mounted(filepath.Join(target, "inner")) {
		t.Error("what is mounted below is not seen")
	}
	if err := v.tearDown("u"); err != nil {
		t.Fatal(err)
	}
	if !mounted(inner) {
		t.Error("tearing the pod down has unmounted a file system of the host")
	}
}
