package quota

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	helper "k8s.io/component-helpers/resource"
)

// Usage returns what an object of a resource is charged with; now tells which pods are past their end.
func Usage(gr schema.GroupResource, obj any, now time.Time) corev1.ResourceList {
	used := corev1.ResourceList{CountName(gr): one()}
	if alias, ok := older[gr]; ok {
		used[alias] = one()
	}
	switch obj := obj.(type) {
	case *corev1.Pod:
		return podUsage(used, obj, now)
	case *corev1.Service:
		serviceUsage(used, obj)
	case *corev1.PersistentVolumeClaim:
		claimUsage(used, obj)
	}
	return used
}

// Used returns what the objects of a resource, all in the quota's namespace, are charged with altogether,
// as far as the quota's hard limits name it. What is named and not used is 0.
func Used[T any](q *corev1.ResourceQuota, gr schema.GroupResource, objects []T, now time.Time) (corev1.ResourceList, error) {
	sum := corev1.ResourceList{}
	names := map[corev1.ResourceName]bool{}
	for _, name := range Matching(gr, q.Spec.Hard) {
		sum[name] = *resource.NewQuantity(0, resource.DecimalSI)
		names[name] = true
	}
	for _, obj := range objects {
		in, err := InScope(q, obj)
		if err != nil {
			return nil, err
		}
		if in {
			sum = Add(sum, Mask(Usage(gr, obj, now), names))
		}
	}
	return sum, nil
}

// podName tells whether pods are charged to a name, besides their number.
func podName(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
		corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
		return true
	}
	text := string(name)
	if strings.HasPrefix(text, corev1.ResourceHugePagesPrefix) || strings.HasPrefix(text, corev1.ResourceRequestsHugePagesPrefix) {
		return true
	}
	// Of what nodes have beyond Kubernetes' own resources, requests count.
	return strings.HasPrefix(text, corev1.DefaultResourceRequestsPrefix) &&
		(!native(text) || strings.HasPrefix(text, "requests.deviceclass.resource.kubernetes.io/"))
}

// native tells that a resource is Kubernetes' own.
func native(name string) bool {
	return !strings.Contains(name, "/") || strings.Contains(name, "kubernetes.io/")
}

// extended tells that a resource is one that nodes have beyond Kubernetes' own.
func extended(name corev1.ResourceName) bool {
	text := string(name)
	return !native(text) && !strings.HasPrefix(text, corev1.DefaultResourceRequestsPrefix) ||
		strings.HasPrefix(text, "deviceclass.resource.kubernetes.io/")
}

// Charged tells whether a pod's use of nodes still counts: it has not ended, and its deletion is not
// overdue.
func Charged(pod *corev1.Pod, now time.Time) bool {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return false
	}
	if pod.DeletionTimestamp == nil || pod.DeletionGracePeriodSeconds == nil {
		return true
	}
	grace := time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	return !now.After(pod.DeletionTimestamp.Add(grace))
}

func podUsage(used corev1.ResourceList, pod *corev1.Pod, now time.Time) corev1.ResourceList {
	if !Charged(pod, now) {
		return used
	}
	opts := helper.PodResourcesOptions{UseStatusResources: true}
	return Add(used, computeUsage(helper.PodRequests(pod, opts), helper.PodLimits(pod, opts)))
}

// computeUsage names requests and limits as quotas do.
func computeUsage(requests, limits corev1.ResourceList) corev1.ResourceList {
	used := corev1.ResourceList{corev1.ResourcePods: one()}
	for name, q := range requests {
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage,
			strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
			used[name] = q
			used[corev1.DefaultResourceRequestsPrefix+name] = q
		case extended(name):
			used[corev1.DefaultResourceRequestsPrefix+name] = q
		}
	}
	for name, q := range limits {
		switch name {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
			used["limits."+name] = q
		}
	}
	return used
}

// required are the names for which each container of a pod must tell what it needs once a quota counts
// them.
var required = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceMemory,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
}

// Missing returns, for those of names that every container must tell, the containers that don't. A pod that
// tells what it needs as a whole lacks nothing.
func Missing(pod *corev1.Pod, names []corev1.ResourceName) map[corev1.ResourceName][]string {
	if helper.IsPodLevelResourcesSet(pod) {
		return nil
	}
	counted := map[corev1.ResourceName]bool{}
	for _, name := range names {
		counted[name] = true
	}
	missing := map[corev1.ResourceName][]string{}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			told := computeUsage(c.Resources.Requests, c.Resources.Limits)
			for _, name := range required {
				if _, ok := told[name]; counted[name] && !ok {
					missing[name] = append(missing[name], c.Name)
				}
			}
		}
	}
	return missing
}

// Terminating tells that a pod's time is bounded.
func Terminating(pod *corev1.Pod) bool {
	return pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds >= 0
}

func podInScope(req corev1.ScopedResourceSelectorRequirement, pod *corev1.Pod) (bool, error) {
	switch req.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return Terminating(pod), nil
	case corev1.ResourceQuotaScopeNotTerminating:
		return !Terminating(pod), nil
	case corev1.ResourceQuotaScopeBestEffort:
		return bestEffort(pod), nil
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(pod), nil
	case corev1.ResourceQuotaScopePriorityClass:
		var class []string
		if pod.Spec.PriorityClassName != "" {
			class = []string{pod.Spec.PriorityClassName}
		}
		return selects(req, class)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return reachesOut(pod), nil
	}
	return false, nil
}

// bestEffort tells that a pod asks for no processor time and no memory at all.
func bestEffort(pod *corev1.Pod) bool {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass == corev1.PodQOSBestEffort
	}
	told := func(lists ...corev1.ResourceList) bool {
		for _, l := range lists {
			if l.Cpu().Sign() > 0 || l.Memory().Sign() > 0 {
				return true
			}
		}
		return false
	}
	if r := pod.Spec.Resources; r != nil && told(r.Requests, r.Limits) {
		return false
	}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			if told(c.Resources.Requests, c.Resources.Limits) {
				return false
			}
		}
	}
	return true
}

// reachesOut tells that a pod's affinity is about pods of other namespaces.
func reachesOut(pod *corev1.Pod) bool {
	a := pod.Spec.Affinity
	if a == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	add := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		terms = append(terms, required...)
		for _, t := range preferred {
			terms = append(terms, t.PodAffinityTerm)
		}
	}
	if a.PodAffinity != nil {
		add(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		add(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	for _, t := range terms {
		if len(t.Namespaces) > 0 || t.NamespaceSelector != nil {
			return true
		}
	}
	return false
}

func serviceUsage(used corev1.ResourceList, svc *corev1.Service) {
	balancers, ports := int64(0), int64(0)
	switch svc.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = int64(len(svc.Spec.Ports))
	case corev1.ServiceTypeLoadBalancer:
		balancers = 1
		for _, p := range svc.Spec.Ports {
			// Ports yet to be allocated count too, unless the service wants none.
			if svc.Spec.AllocateLoadBalancerNodePorts == nil || *svc.Spec.AllocateLoadBalancerNodePorts || p.NodePort != 0 {
				ports++
			}
		}
	}
	used[corev1.ResourceServices] = one()
	used[corev1.ResourceServicesLoadBalancers] = *resource.NewQuantity(balancers, resource.DecimalSI)
	used[corev1.ResourceServicesNodePorts] = *resource.NewQuantity(ports, resource.DecimalSI)
}

// byClass precedes the names that count the claims of one storage class.
const byClass = ".storageclass.storage.k8s.io/"

func claimName(name corev1.ResourceName) bool {
	_, plain, found := strings.Cut(string(name), byClass)
	if !found {
		plain = string(name)
	}
	return plain == string(corev1.ResourcePersistentVolumeClaims) || plain == string(corev1.ResourceRequestsStorage)
}

func claimUsage(used corev1.ResourceList, claim *corev1.PersistentVolumeClaim) {
	class := claim.Annotations[corev1.BetaStorageClassAnnotation]
	if _, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; !ok && claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	charge := func(name corev1.ResourceName, q resource.Quantity) {
		used[name] = q
		if class != "" {
			used[corev1.ResourceName(class+byClass)+name] = q.DeepCopy()
		}
	}
	charge(corev1.ResourcePersistentVolumeClaims, one())
	storage, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	if allocated, ok := claim.Status.AllocatedResources[corev1.ResourceStorage]; ok && allocated.Cmp(storage) > 0 {
		storage = allocated
	}
	storage = storage.DeepCopy()
	storage.RoundUp(0) // a quota counts whole bytes
	charge(corev1.ResourceRequestsStorage, storage)
}

// attributeClasses returns the names of the volume attributes classes that a claim has or is to have.
func attributeClasses(claim *corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, name := range []*string{claim.Spec.VolumeAttributesClassName, claim.Status.CurrentVolumeAttributesClassName} {
		if name != nil && *name != "" {
			names = append(names, *name)
		}
	}
	if m := claim.Status.ModifyVolumeStatus; m != nil && m.TargetVolumeAttributesClassName != "" {
		names = append(names, m.TargetVolumeAttributesClassName)
	}
	return names
}
