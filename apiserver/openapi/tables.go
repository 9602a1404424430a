package openapi

// What Kubernetes' own documents say and Go types do not: it stands in comments there. Keys are
// names of models, or of models and their fields.

const (
	api       = "io.k8s.api."
	machinery = "io.k8s.apimachinery.pkg."
)

// listMarkers tells how server-side apply merges a list or a map, where that does not follow from
// the field's patch tags: "set", "map" and the keys of its elements, "atomic", "granular". All other lists are
// atomic, as server-side apply takes them.
var listMarkers = map[string]string{
	api + "admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec.validationActions": "set",
	api + "admissionregistration.v1.ValidatingAdmissionPolicyStatus.conditions":             "map type",
	api + "batch.v1.JobStatus.conditions":                                                   "atomic",
	api + "batch.v1.PodFailurePolicyOnExitCodesRequirement.values":                          "set",
	api + "batch.v1.UncountedTerminatedPods.failed":                                         "set",
	api + "batch.v1.UncountedTerminatedPods.succeeded":                                      "set",
	api + "certificates.v1.CertificateSigningRequestStatus.conditions":                      "map type",
	api + "core.v1.Container.ports":                                                         "map containerPort,protocol",
	api + "core.v1.ContainerRestartRuleOnExitCodes.values":                                  "set",
	api + "core.v1.EphemeralContainer.ports":                                                "map containerPort,protocol",
	api + "core.v1.NodeAllocatableResourceClaimStatus.containers":                           "set",
	api + "core.v1.NodePodPreemptionPolicy.disableResizePreemption":                         "set",
	api + "core.v1.PersistentVolumeSpec.claimRef":                                           "granular",
	api + "core.v1.PodSpec.nodeSelector":                                                    "atomic",
	api + "core.v1.PodSpec.topologySpreadConstraints":                                       "map topologyKey,whenUnsatisfiable",
	api + "core.v1.PodStatus.hostIPs":                                                       "atomic",
	api + "core.v1.PodStatus.volumeHealth":                                                  "map name",
	api + "core.v1.PodVolumeHealth.healthConditions":                                        "map status,reason",
	api + "core.v1.ReplicationControllerSpec.selector":                                      "atomic",
	api + "core.v1.ResourceRequirements.claims":                                             "map name",
	api + "core.v1.ResourceStatus.resources":                                                "map resourceID",
	api + "core.v1.ServiceSpec.ports":                                                       "map port,protocol",
	api + "core.v1.ServiceSpec.selector":                                                    "atomic",
	api + "core.v1.VolumeHealthStatus.healthConditions":                                     "map status,reason",
	api + "core.v1.VolumeMount.bindMountOptions":                                            "set",
	api + "discovery.v1.Endpoint.addresses":                                                 "set",
	api + "flowcontrol.v1.NonResourcePolicyRule.nonResourceURLs":                            "set",
	api + "flowcontrol.v1.NonResourcePolicyRule.verbs":                                      "set",
	api + "flowcontrol.v1.ResourcePolicyRule.apiGroups":                                     "set",
	api + "flowcontrol.v1.ResourcePolicyRule.namespaces":                                    "set",
	api + "flowcontrol.v1.ResourcePolicyRule.resources":                                     "set",
	api + "flowcontrol.v1.ResourcePolicyRule.verbs":                                         "set",
	api + "node.v1.Scheduling.nodeSelector":                                                 "atomic",
	api + "resource.v1.AllocatedDeviceStatus.conditions":                                    "map type",
	api + "resource.v1.DeviceRequestAllocationResult.skipNodeOperations":                    "set",
	api + "resource.v1.ResourceClaimStatus.devices":                                         "map driver,device,pool,shareID",
	api + "resource.v1.ResourceSliceSpec.skipNodeOperations":                                "set",
	api + "storage.v1.CSIDriverSpec.volumeLifecycleModes":                                   "set",
}

// atomicTypes are replaced as a whole wherever they stand.
var atomicTypes = map[string]bool{
	api + "admissionregistration.v1.MatchResources":          true,
	api + "admissionregistration.v1.ParamKind":               true,
	api + "admissionregistration.v1.ParamRef":                true,
	api + "admissionregistration.v1.Variable":                true,
	api + "admissionregistration.v1.NamedRuleWithOperations": true,
	api + "autoscaling.v1.CrossVersionObjectReference":       true,
	api + "core.v1.ConfigMapKeySelector":                     true,
	api + "core.v1.EndpointAddress":                          true,
	api + "core.v1.EndpointPort":                             true,
	api + "core.v1.EvictionResponder":                        true,
	api + "core.v1.FileKeySelector":                          true,
	api + "core.v1.LocalObjectReference":                     true,
	api + "core.v1.NodeSelector":                             true,
	api + "core.v1.NodeSelectorTerm":                         true,
	api + "core.v1.ObjectFieldSelector":                      true,
	api + "core.v1.ObjectReference":                          true,
	api + "core.v1.ResourceFieldSelector":                    true,
	api + "core.v1.ScopeSelector":                            true,
	api + "core.v1.SecretKeySelector":                        true,
	api + "core.v1.SecretReference":                          true,
	api + "core.v1.TopologySelectorTerm":                     true,
	api + "core.v1.TypedLocalObjectReference":                true,
	api + "discovery.v1.EndpointPort":                        true,
	api + "networking.v1.ServiceBackendPort":                 true,
	api + "rbac.v1.RoleRef":                                  true,
	api + "rbac.v1.Subject":                                  true,
	machinery + "apis.meta.v1.LabelSelector":                 true,
	machinery + "apis.meta.v1.OwnerReference":                true,
}

// required tells of fields whose json tag says the opposite: whether they must be given.
var required = map[string]bool{
	api + "apps.v1.Deployment.spec":                          true,
	api + "apps.v1.DeploymentCondition.status":               false,
	api + "apps.v1.DeploymentCondition.type":                 false,
	api + "apps.v1.ReplicaSet.spec":                          true,
	api + "apps.v1.ReplicaSetCondition.status":               false,
	api + "apps.v1.ReplicaSetCondition.type":                 false,
	api + "core.v1.ContainerImage.names":                     false,
	api + "core.v1.ContainerRestartRule.action":              true,
	api + "core.v1.ContainerRestartRuleOnExitCodes.operator": true,
	api + "core.v1.Event.reportingComponent":                 false,
	api + "core.v1.Event.reportingInstance":                  false,
	api + "core.v1.GRPCAction.service":                       false,
	api + "core.v1.ImageVolumeStatus.imageRef":               true,
	api + "core.v1.NodeRuntimeHandler.name":                  false,
	api + "core.v1.PodCertificateProjection.keyType":         true,
	api + "core.v1.PodCertificateProjection.signerName":      true,
	api + "core.v1.ProjectedVolumeSource.sources":            false,
	api + "core.v1.TypedLocalObjectReference.apiGroup":       false,
	api + "core.v1.TypedObjectReference.apiGroup":            false,
	api + "discovery.v1.EndpointSlice.endpoints":             false,
	api + "discovery.v1.EndpointSlice.ports":                 false,
}

// defaults are the values of fields that clients leave out, as far as documents tell them.
var defaults = map[string]any{
	api + "core.v1.AzureDiskVolumeSource.cachingMode": "ReadWrite",
	api + "core.v1.AzureDiskVolumeSource.fsType":      "ext4",
	api + "core.v1.AzureDiskVolumeSource.kind":        "Shared",
	api + "core.v1.AzureDiskVolumeSource.readOnly":    false,
	api + "core.v1.ConfigMapEnvSource.name":           "",
	api + "core.v1.ConfigMapKeySelector.name":         "",
	api + "core.v1.ConfigMapProjection.name":          "",
	api + "core.v1.ConfigMapVolumeSource.name":        "",
	api + "core.v1.ContainerPort.protocol":            "TCP",
	api + "core.v1.FileKeySelector.optional":          false,
	api + "core.v1.GRPCAction.service":                "",
	api + "core.v1.ISCSIVolumeSource.iscsiInterface":  "default",
	api + "core.v1.LocalObjectReference.name":         "",
	api + "core.v1.RBDVolumeSource.keyring":           "/etc/ceph/keyring",
	api + "core.v1.RBDVolumeSource.pool":              "rbd",
	api + "core.v1.RBDVolumeSource.user":              "admin",
	api + "core.v1.ScaleIOVolumeSource.fsType":        "xfs",
	api + "core.v1.ScaleIOVolumeSource.storageMode":   "ThinProvisioned",
	api + "core.v1.SecretEnvSource.name":              "",
	api + "core.v1.SecretKeySelector.name":            "",
	api + "core.v1.SecretProjection.name":             "",
	api + "core.v1.ServicePort.protocol":              "TCP",
}

// descriptions are those of types that carry none in Go.
var descriptions = map[string]string{
	machinery + "api.resource.Quantity":   "Quantity is a fixed-point number, such as 1.5, 1500m or 1536Mi. Suffixes are n, u, m, k, M, G, T, P and E for powers of 1000, Ki, Mi, Gi, Ti, Pi and Ei for powers of 1024, and exponents such as e3. At most three decimal places are kept; further ones are rounded up.",
	machinery + "apis.meta.v1.Time":       "Time is a point in time, to the second, as RFC 3339 writes it.",
	machinery + "apis.meta.v1.MicroTime":  "MicroTime is a point in time, to the microsecond, as RFC 3339 writes it.",
	machinery + "apis.meta.v1.Duration":   "Duration is a span of time, such as 1h30m or 300ms.",
	machinery + "apis.meta.v1.FieldsV1":   "FieldsV1 is a set of fields, as https://sigs.k8s.io/structured-merge-diff writes it.",
	machinery + "runtime.RawExtension":    "RawExtension holds an object of any kind.",
	machinery + "util.intstr.IntOrString": "IntOrString holds an integer or a string, such as a port by number or by name.",
}
