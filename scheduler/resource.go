package scheduler

import (
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Resource is an amount of each resource. It is immutable: Add returns a new value.
type Resource struct {
	// MilliCPU is in thousandths of a core, Memory and EphemeralStorage are in bytes.
	MilliCPU, Memory, EphemeralStorage int64
	// scalars are the extended resources and huge pages, sorted by name and never changed in place.
	scalars []scalar
}

type scalar struct {
	name   corev1.ResourceName
	amount int64
}

// NewResource converts a resource list. Amounts are rounded up, as Kubernetes does.
func NewResource(list corev1.ResourceList) Resource {
	var r Resource
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			r.MilliCPU = q.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = q.Value()
		case corev1.ResourceEphemeralStorage:
			r.EphemeralStorage = q.Value()
		default:
			if isScalar(name) {
				r.scalars = append(r.scalars, scalar{name, q.Value()})
			}
		}
	}
	slices.SortFunc(r.scalars, func(a, b scalar) int { return strings.Compare(string(a.name), string(b.name)) })
	return r
}

// isScalar tells whether nodes count this resource in whole units: huge pages, attachable volumes and
// all names with a domain, such as example.com/gpu.
func isScalar(name corev1.ResourceName) bool {
	s := string(name)
	return strings.Contains(s, "/") || strings.HasPrefix(s, corev1.ResourceHugePagesPrefix) ||
		strings.HasPrefix(s, corev1.ResourceAttachableVolumesPrefix)
}

// Scalar returns the amount of an extended resource or of huge pages.
func (r *Resource) Scalar(name corev1.ResourceName) int64 {
	for i := range r.scalars {
		if r.scalars[i].name == name {
			return r.scalars[i].amount
		}
	}
	return 0
}

// IsZero tells whether nothing is asked for.
func (r *Resource) IsZero() bool {
	return r.MilliCPU == 0 && r.Memory == 0 && r.EphemeralStorage == 0 && len(r.scalars) == 0
}

func sameRequests(a, b *Resource) bool {
	return a.MilliCPU == b.MilliCPU && a.Memory == b.Memory && a.EphemeralStorage == b.EphemeralStorage && slices.Equal(a.scalars, b.scalars)
}

// Add returns r + o. Amounts stop at the largest int64 instead of wrapping around.
func (r Resource) Add(o Resource) Resource {
	out := Resource{
		MilliCPU: addSaturated(r.MilliCPU, o.MilliCPU), Memory: addSaturated(r.Memory, o.Memory),
		EphemeralStorage: addSaturated(r.EphemeralStorage, o.EphemeralStorage), scalars: r.scalars,
	}
	if len(o.scalars) == 0 {
		return out
	}
	out.scalars = make([]scalar, 0, len(r.scalars)+len(o.scalars))
	a, b := r.scalars, o.scalars
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].name < b[0].name:
			out.scalars, a = append(out.scalars, a[0]), a[1:]
		case len(a) == 0 || b[0].name < a[0].name:
			out.scalars, b = append(out.scalars, b[0]), b[1:]
		default:
			out.scalars = append(out.scalars, scalar{a[0].name, addSaturated(a[0].amount, b[0].amount)})
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func addSaturated(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// What a container that requests nothing counts for when nodes are scored, so that such pods
// spread, too: 100m of CPU and 200 MB of memory (kube-scheduler's DefaultMilliCPURequest and
// DefaultMemoryRequest).
const (
	defaultMilliCPU = 100
	defaultMemory   = 200 * 1024 * 1024
)

// requests are what a pod needs: its containers, init containers, sidecars, overhead and pod-level
// resources.
type requests struct {
	exact Resource
	// nonZero has the CPU and memory that scores count for a pod on a node: at least the amounts
	// above for each container that names none, unless the pod names some for all of them.
	nonZero Resource
	// asked is nonZero for the pod that is being placed. Pod-level resources do not count in it, as
	// they do not for kube-scheduler's score.
	asked Resource
}

func requestsOf(pod *corev1.Pod) requests {
	if r, ok := plainRequests(pod); ok {
		return r
	}
	return anyRequests(pod)
}

// plainRequests is anyRequests for the usual pod: only containers, which ask only for CPU, memory and ephemeral
// storage in amounts that need no rounding, and are allotted just that. It makes no maps.
func plainRequests(pod *corev1.Pod) (r requests, ok bool) {
	if len(pod.Spec.InitContainers) > 0 || pod.Spec.Overhead != nil || pod.Spec.Resources != nil || !allottedAsAsked(pod) {
		return r, false
	}
	for i := range pod.Spec.Containers {
		c := plainAmounts(pod.Spec.Containers[i].Resources.Requests)
		if c.odd {
			return r, false
		}
		r.exact = r.exact.Add(c.Resource)
		if !c.cpu {
			c.MilliCPU = defaultMilliCPU
		}
		if !c.memory {
			c.Memory = defaultMemory
		}
		r.nonZero = r.nonZero.Add(Resource{MilliCPU: c.MilliCPU, Memory: c.Memory})
	}
	r.asked = r.nonZero
	return r, true
}

// amounts are what one container requests; cpu and memory tell that they are named, odd that it is
// more than plainRequests deals with.
type amounts struct {
	Resource
	cpu, memory, odd bool
}

// mostPlain keeps sums of many amounts from reaching the largest number.
const mostPlain = 1 << 50

func plainAmounts(list corev1.ResourceList) (a amounts) {
	for name, q := range list {
		var exact bool
		switch name {
		case corev1.ResourceCPU:
			a.cpu = true
			a.MilliCPU = q.MilliValue()
			exact = a.MilliCPU < mostPlain && q.Cmp(*resource.NewMilliQuantity(a.MilliCPU, resource.DecimalSI)) == 0
		case corev1.ResourceMemory:
			a.memory = true
			a.Memory, exact = q.AsInt64()
		case corev1.ResourceEphemeralStorage:
			a.EphemeralStorage, exact = q.AsInt64()
		}
		if !exact || a.MilliCPU < 0 || a.Memory < 0 || a.Memory >= mostPlain || a.EphemeralStorage < 0 || a.EphemeralStorage >= mostPlain {
			a.odd = true
			return a
		}
	}
	return a
}

// allottedAsAsked tells whether a resize, done or under way, can't make a difference.
func allottedAsAsked(pod *corev1.Pod) bool {
	if pod.Spec.NodeName == "" {
		return true
	}
	if resourcehelper.IsPodResizeInfeasible(pod) || len(pod.Status.InitContainerStatuses) > 0 {
		return false
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		at := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name })
		if at < 0 {
			continue
		}
		allotted, actual := pod.Status.ContainerStatuses[at].AllocatedResources, pod.Status.ContainerStatuses[at].Resources
		if allotted != nil && !sameList(allotted, c.Resources.Requests) ||
			actual != nil && actual.Requests != nil && !sameList(actual.Requests, c.Resources.Requests) {
			return false
		}
	}
	return true
}

func sameList(a, b corev1.ResourceList) bool {
	return maps.EqualFunc(a, b, func(x, y resource.Quantity) bool { return x.Cmp(y) == 0 })
}

// anyRequests follows all of Kubernetes' rules.
func anyRequests(pod *corev1.Pod) (r requests) {
	// A pod on a node counts for what the kubelet has allotted, which a resize may have changed.
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: pod.Spec.NodeName != ""}
	list := resourcehelper.PodRequests(pod, opts)
	r.exact = NewResource(list)
	podLevel := resourcehelper.IsPodLevelRequestsSet(pod)
	if !podLevel && namesAll(pod.Spec.InitContainers) && namesAll(pod.Spec.Containers) {
		r.nonZero = Resource{MilliCPU: r.exact.MilliCPU, Memory: r.exact.Memory}
		r.asked = r.nonZero
		return r
	}
	opts.NonMissingContainerRequests = corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(defaultMilliCPU, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(defaultMemory, resource.BinarySI),
	}
	opts.SkipPodLevelResources = true
	r.asked = computeOf(pod, opts)
	if !podLevel {
		r.nonZero = r.asked
		return r
	}
	opts.SkipPodLevelResources = false
	for name := range list {
		delete(opts.NonMissingContainerRequests, name)
	}
	r.nonZero = computeOf(pod, opts)
	return r
}

// computeOf returns the CPU and memory of the pod's requests.
func computeOf(pod *corev1.Pod, opts resourcehelper.PodResourcesOptions) Resource {
	r := NewResource(resourcehelper.PodRequests(pod, opts))
	return Resource{MilliCPU: r.MilliCPU, Memory: r.Memory}
}

// namesAll tells whether all containers request CPU and memory.
func namesAll(cs []corev1.Container) bool {
	for i := range cs {
		r := cs[i].Resources.Requests
		if _, ok := r[corev1.ResourceCPU]; !ok {
			return false
		}
		if _, ok := r[corev1.ResourceMemory]; !ok {
			return false
		}
	}
	return true
}
