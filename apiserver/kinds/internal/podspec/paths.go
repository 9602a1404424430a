package podspec

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// specPaths are the paths of a specification's fields. Those of pods are made once: to make a path for each field of
// each pod, nearly all of which are right, took a third of what is allocated when one is created.
type specPaths struct {
	terminationGrace, volumes, resourceClaims, containers, initContainers, ephemeralContainers, resources,
	restartPolicy, dnsPolicy, nodeSelector, securityContext, affinity, dnsConfig, schedulingGates, topologySpread,
	hostnameOverride, tolerations, hostAliases, schedulingGroup *field.Path
}

var podPaths = sync.OnceValue(func() *specPaths { return newSpecPaths(specPath) })

func pathsIn(spec *field.Path) *specPaths {
	if spec == specPath {
		return podPaths()
	}
	return newSpecPaths(spec)
}

func newSpecPaths(spec *field.Path) *specPaths {
	return &specPaths{
		terminationGrace:    spec.Child("terminationGracePeriodSeconds"),
		volumes:             spec.Child("volumes"),
		resourceClaims:      spec.Child("resourceClaims"),
		containers:          spec.Child("containers"),
		initContainers:      spec.Child("initContainers"),
		ephemeralContainers: spec.Child("ephemeralContainers"),
		resources:           spec.Child("resources"),
		restartPolicy:       spec.Child("restartPolicy"),
		dnsPolicy:           spec.Child("dnsPolicy"),
		nodeSelector:        spec.Child("nodeSelector"),
		securityContext:     spec.Child("securityContext"),
		affinity:            spec.Child("affinity"),
		dnsConfig:           spec.Child("dnsConfig"),
		schedulingGates:     spec.Child("schedulingGates"),
		topologySpread:      spec.Child("topologySpreadConstraints"),
		hostnameOverride:    spec.Child("hostnameOverride"),
		tolerations:         spec.Child("tolerations"),
		hostAliases:         spec.Child("hostAliases"),
		schedulingGroup:     spec.Child("schedulingGroup"),
	}
}
