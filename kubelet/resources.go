package kubelet

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"
)

// Constants of the kernel's CPU controller (cgroup v1 terms) and of the kubelet's OOM scores.
const (
	cpuPeriod         = 100_000 // microseconds
	minCPUQuota       = 1_000
	minCPUShares      = 2
	maxCPUShares      = 262_144
	oomGuaranteed     = -997
	oomBestEffort     = 1000
	oomCritical       = -997
	criticalPriority  = 2_000_000_000
	oomBurstableFloor = 1000 + oomGuaranteed // 3
)

func cpuShares(q resource.Quantity) uint64 {
	return uint64(min(max(q.MilliValue()*1024/1000, minCPUShares), maxCPUShares))
}

func cpuQuota(q resource.Quantity) int64 {
	if q.IsZero() {
		return 0
	}
	return max(q.MilliValue()*cpuPeriod/1000, minCPUQuota)
}

// containerResources derives the limits of a container; memory is the node's capacity in bytes.
// A CPU request that is not set is the limit.
func containerResources(pod *corev1.Pod, c *corev1.Container, memory int64) Resources {
	request, ok := c.Resources.Requests[corev1.ResourceCPU]
	if !ok {
		request = c.Resources.Limits[corev1.ResourceCPU]
	}
	out := Resources{
		CPUShares:   cpuShares(request),
		CPUQuota:    cpuQuota(c.Resources.Limits[corev1.ResourceCPU]),
		MemoryLimit: c.Resources.Limits.Memory().Value(),
		OOMScoreAdj: oomScore(pod, c, memory),
	}
	if out.CPUQuota != 0 {
		out.CPUPeriod = cpuPeriod
	}
	out.HugepageLimits = hugepages(c.Resources.Limits)
	return out
}

// podResources derives the limits of a pod's cgroup: bounded only when each container is.
func podResources(pod *corev1.Pod) Resources {
	requests := helper.PodRequests(pod, helper.PodResourcesOptions{})
	limits := helper.PodLimits(pod, helper.PodResourcesOptions{})
	out := Resources{CPUShares: cpuShares(requests[corev1.ResourceCPU])}
	cpu, memory := true, true
	for _, c := range eachContainer(pod) {
		cpu = cpu && !c.Resources.Limits.Cpu().IsZero()
		memory = memory && !c.Resources.Limits.Memory().IsZero()
	}
	if cpu {
		out.CPUQuota, out.CPUPeriod = cpuQuota(limits[corev1.ResourceCPU]), cpuPeriod
	}
	if memory {
		out.MemoryLimit = limits.Memory().Value()
	}
	return out
}

func hugepages(limits corev1.ResourceList) map[string]uint64 {
	var out map[string]uint64
	for name, q := range limits {
		size, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		page, err := resource.ParseQuantity(size)
		if err != nil {
			continue
		}
		if out == nil {
			out = map[string]uint64{}
		}
		out[pageSize(page.Value())] = uint64(q.Value())
	}
	return out
}

// oomScore is the kubelet's oom_score_adj: the less memory a burstable container asks for, the
// sooner it is killed.
func oomScore(pod *corev1.Pod, c *corev1.Container, capacity int64) int {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= criticalPriority {
		return oomCritical
	}
	switch qosClass(pod) {
	case corev1.PodQOSGuaranteed:
		return oomGuaranteed
	case corev1.PodQOSBestEffort:
		return oomBestEffort
	}
	if capacity <= 0 {
		return oomBestEffort - 1
	}
	score := 1000 - 1000*c.Resources.Requests.Memory().Value()/capacity
	return int(min(max(score, oomBurstableFloor), oomBestEffort-1))
}

// pageSize names a huge page size as cgroups do: "2MB", "1GB".
func pageSize(bytes int64) string {
	switch {
	case bytes >= 1<<30 && bytes%(1<<30) == 0:
		return strconv.FormatInt(bytes>>30, 10) + "GB"
	case bytes >= 1<<20 && bytes%(1<<20) == 0:
		return strconv.FormatInt(bytes>>20, 10) + "MB"
	default:
		return strconv.FormatInt(bytes>>10, 10) + "KB"
	}
}
