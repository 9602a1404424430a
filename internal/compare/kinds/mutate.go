package kinds

import (
	"math/rand/v2"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// mutator changes objects at random, one field at a time, to values that someone might send.
type mutator struct{ *rand.Rand }

var texts = []string{
	"", "a", "b", "web", "main", "Not_A_Label", "-bad", "x/y", "example.com/thing", "latest", "nginx", "nginx:1.27", "registry:5000/a/b",
	"repo@sha256:0123456789012345678901234567890123456789012345678901234567890123", "UPPER/x", " spaced ", "Always", "Never", "OnFailure",
	"IfNotPresent", "ClusterFirst", "None", "Default", "TCP", "UDP", "tcp", "http", "HTTP", "HTTPS", "/", "/healthz", "../up", "a/../b",
	"/abs", "cpu", "memory", "hugepages-2Mi", "limits.cpu", "requests.memory", "metadata.name", "metadata.labels['app']", "spec.nodeName",
	"status.podIP", "v1", "v2", "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Equal", "NoSchedule", "NoExecute", "PreferNoSchedule",
	"DoNotSchedule", "ScheduleAnyway", "kubernetes.io/hostname", "10.0.0.1", "10.0.0.300", "fd00::1", "127.0.0.1", "10.0.0.0/24", "NodePort",
	"LoadBalancer", "ExternalName", "ClusterIP", "Local", "Cluster", "ClientIP", "IPv4", "IPv6", "SingleStack", "PreferDualStack",
	"RequireDualStack", "RollingUpdate", "Recreate", "25%", "150%", "0%", "Opaque", "kubernetes.io/tls", "kubernetes.io/dockerconfigjson",
	"kubernetes.io/basic-auth", "linux", "windows", "Localhost", "RuntimeDefault", "Unconfined", "Directory", "File", "FQDN", "app",
	"metadata.annotations", "FallbackToLogsOnError", "File", "Bidirectional", "HostToContainer", "ReadWriteOnce", "net.core.somaxconn",
	"this-name-is-much-too-long-for-a-label-because-labels-end-at-sixty-three-characters", "Honor", "Ignore", "Normal", "Warning",
	"Retain", "Delete", "Recycle", "Immediate", "WaitForFirstConsumer", "Block", "Filesystem", "ReadOnlyMany", "ReadWriteOncePod", "storage",
	"PersistentVolumeClaim", "VolumeSnapshot", "snapshot.storage.k8s.io", "topology.kubernetes.io/zone", "IfHealthyBudget", "AlwaysAllow",
	"Persistent", "Ephemeral", "disk.example.com", "NodeResizePending", "ControllerResizeInfeasible", "PreemptLowerPriority",
	"Role", "ClusterRole", "User", "Group", "ServiceAccount", "rbac.authorization.k8s.io", "/api/*",
	"Container", "Pod", "pods", "secrets", "count/jobs.batch", "BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "PriorityClass",
	"VolumeAttributesClass", "persistentvolumeclaims", "requests.storage", "ephemeral-storage", "requests.hugepages-2Mi",
	"Exact", "Prefix", "ImplementationSpecific", "*.example.com", "/a//b", "/a/.", "/%2f", "Namespace", "Ingress", "Egress", "10.0.0.0/30",
	"OnDelete", "OrderedReady", "Parallel", "NonIndexed", "Indexed", "FailJob", "FailIndex", "Count", "Failed", "TerminatingOrFailed", "Forbid",
	"*/5 * * * *", "@hourly", "TZ=UTC 0 * * * *", "Etc/UTC", "Europe/Berlin", "0-1,3", "0", "Complete", "SuccessCriteriaMet", "FailureTarget", "True",
	"client auth", "server auth", "Approved", "Denied", "Issued", "example.com/mine", "kubernetes.io/legacy-unknown", "Reason",
	"All", "ExactCount", "one", "any/big", "any", "gpu.example.com/numa", "1.2.3", "gpu-0", "n1/a",
}

var numbers = []int64{-1, 0, 1, 2, 5, 30, 80, 443, 600, 8080, 30080, 65535, 65536, 99999, 0o777, 0o1000, 1 << 31, 3600}

var documents = []string{`{"a":1}`, `{}`, `[]`, `null`, `"text"`}

var quantities = []string{"0", "1", "100m", "1.5", "0.0001", "1Gi", "2Mi", "3M", "-1", "500m", "2"}

// mutate changes n random fields of obj, which is a pointer to a struct.
func (m mutator) mutate(obj any, n int) {
	for range n {
		m.change(reflect.ValueOf(obj).Elem(), 0)
	}
}

func (m mutator) change(v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case metav1.TypeMeta, metav1.ObjectMeta, metav1.ListMeta, metav1.Time, metav1.MicroTime:
		return
	case runtime.RawExtension:
		v.Set(reflect.ValueOf(runtime.RawExtension{Raw: []byte(documents[m.IntN(len(documents))])}))
		return
	case resource.Quantity:
		v.Set(reflect.ValueOf(resource.MustParse(quantities[m.IntN(len(quantities))])))
		return
	case intstr.IntOrString:
		if m.IntN(2) == 0 {
			v.Set(reflect.ValueOf(intstr.FromInt32(int32(m.number()))))
		} else {
			v.Set(reflect.ValueOf(intstr.FromString(m.text())))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		m.changeStruct(v, depth)
	case reflect.Pointer:
		switch {
		case v.IsNil():
			v.Set(reflect.New(v.Type().Elem()))
			m.change(v.Elem(), depth+1)
			if m.IntN(2) == 0 {
				m.change(v.Elem(), depth+1)
			}
		case m.IntN(6) == 0:
			v.SetZero()
		default:
			m.change(v.Elem(), depth+1)
		}
	case reflect.Slice:
		m.changeSlice(v, depth)
	case reflect.Map:
		m.changeMap(v, depth)
	case reflect.String:
		v.SetString(m.text())
	case reflect.Bool:
		v.SetBool(m.IntN(2) == 0)
	case reflect.Int32, reflect.Int64, reflect.Int:
		n := m.number()
		if v.Kind() == reflect.Int32 {
			n = int64(int32(n))
		}
		v.SetInt(n)
	case reflect.Uint8:
		v.SetUint(uint64(m.IntN(128)))
	}
}

func (m mutator) changeStruct(v reflect.Value, depth int) {
	if v.NumField() == 0 {
		return
	}
	for range 8 {
		i := m.IntN(v.NumField())
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "ManagedFields" || f.Name == "TypeMeta" || f.Name == "ObjectMeta" && !strings.Contains(v.Type().Name(), "Template") {
			continue
		}
		if f.Name == "ObjectMeta" {
			meta := v.Field(i).Addr().Interface().(*metav1.ObjectMeta)
			if meta.Labels == nil {
				meta.Labels = map[string]string{}
			}
			meta.Labels[m.text()] = m.text()
			return
		}
		// What is set is looked at more often than what is not: depth matters more than breadth.
		if v.Field(i).IsZero() && m.IntN(3) > 0 {
			continue
		}
		m.change(v.Field(i), depth+1)
		return
	}
}

func (m mutator) changeSlice(v reflect.Value, depth int) {
	n := v.Len()
	switch {
	case v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes([]byte(m.text()))
	case n == 0 || m.IntN(4) == 0:
		e := reflect.New(v.Type().Elem()).Elem()
		if n > 0 && m.IntN(2) == 0 {
			e.Set(v.Index(m.IntN(n)))
		}
		for range 1 + m.IntN(4) {
			m.change(e, depth+1)
		}
		v.Set(reflect.Append(v, e))
	case m.IntN(8) == 0:
		v.Set(v.Slice(0, n-1))
	default:
		m.change(v.Index(m.IntN(n)), depth+1)
	}
}

func (m mutator) changeMap(v reflect.Value, depth int) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	key := reflect.New(v.Type().Key()).Elem()
	key.SetString(m.text())
	e := reflect.New(v.Type().Elem()).Elem()
	m.change(e, depth+1)
	v.SetMapIndex(key, e)
}

func (m mutator) text() string  { return texts[m.IntN(len(texts))] }
func (m mutator) number() int64 { return numbers[m.IntN(len(numbers))] }
