package apiserver

// groupPriorities put the groups in the order in which kube-apiserver lists them, from its priorities of
// API services. kubectl looks for short names and plain resource names in that order.
var groupPriorities = map[string]int32{
	"": 18000, "apiregistration.k8s.io": 17900, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
	"authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200,
	"policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "admissionregistration.k8s.io": 16700,
	"apiextensions.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
	"discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100, "storagemigration.k8s.io": 15800,
}

// compareGroups puts groups in order; those of a program's own come last.
func compareGroups(a, b string) int { return int(groupPriorities[b] - groupPriorities[a]) }
