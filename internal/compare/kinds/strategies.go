package kinds

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	_ "k8s.io/kubernetes/pkg/apis/apps/install" // registers the conversions and defaults
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	_ "k8s.io/kubernetes/pkg/apis/storagemigration/install"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/certificates/certificates"
	"k8s.io/kubernetes/pkg/registry/certificates/clustertrustbundle"
	"k8s.io/kubernetes/pkg/registry/certificates/podcertificaterequest"
	"k8s.io/kubernetes/pkg/registry/coordination/lease"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/endpoint"
	"k8s.io/kubernetes/pkg/registry/core/event"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/node"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/discovery/endpointslice"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/flowschema"
	"k8s.io/kubernetes/pkg/registry/flowcontrol/prioritylevelconfiguration"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"
	"k8s.io/kubernetes/pkg/registry/networking/ipaddress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/networking/servicecidr"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/resource/devicetaintrule"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaimtemplate"
	"k8s.io/kubernetes/pkg/registry/resource/resourceslice"
	"k8s.io/kubernetes/pkg/registry/scheduling/podgroup"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csinode"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattachment"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
	"k8s.io/kubernetes/pkg/registry/storagemigration/storagemigration"
)

type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

var strategies = map[string]strategy{
	"Pod": pod.Strategy, "Service": service.Strategy, "Namespace": namespace.Strategy, "Node": node.Strategy,
	"ConfigMap": configmap.Strategy, "Secret": secret.Strategy, "ServiceAccount": serviceaccount.Strategy,
	"Endpoints": endpoint.Strategy, "Event": event.Strategy, "Deployment": deployment.Strategy,
	"ReplicaSet": replicaset.Strategy, "EndpointSlice": endpointslice.Strategy, "Lease": lease.Strategy,
	"PersistentVolume": persistentvolume.Strategy, "PersistentVolumeClaim": persistentvolumeclaim.Strategy,
	"PodDisruptionBudget": poddisruptionbudget.Strategy, "PriorityClass": priorityclass.Strategy, "PodGroup": podgroup.NewStrategy(),
	"CSIDriver": csidriver.Strategy, "CSINode": csinode.Strategy, "CSIStorageCapacity": csistoragecapacity.Strategy,
	"StorageClass": storageclass.Strategy, "VolumeAttachment": volumeattachment.Strategy,
	"VolumeAttributesClass": volumeattributesclass.Strategy,
	"Role":                  role.Strategy, "ClusterRole": clusterrole.Strategy, "RoleBinding": rolebinding.Strategy,
	"ClusterRoleBinding": clusterrolebinding.Strategy,
	"FlowSchema":         flowschema.Strategy, "PriorityLevelConfiguration": prioritylevelconfiguration.Strategy,
	"IPAddress": ipaddress.Strategy, "ServiceCIDR": servicecidr.Strategy,
	"Job": job.Strategy, "CronJob": cronjob.Strategy,
	"LimitRange": limitrange.Strategy, "PodTemplate": podtemplate.Strategy,
	"ReplicationController": replicationcontroller.Strategy, "ResourceQuota": resourcequota.Strategy,
	"Ingress": ingress.Strategy, "IngressClass": ingressclass.Strategy, "NetworkPolicy": networkpolicy.Strategy,
	"RuntimeClass": runtimeclass.Strategy, "HorizontalPodAutoscaler": horizontalpodautoscaler.Strategy,
	"StatefulSet": statefulset.Strategy, "DaemonSet": daemonset.Strategy, "ControllerRevision": controllerrevision.Strategy,
	"CertificateSigningRequest": certificates.Strategy, "ClusterTrustBundle": clustertrustbundle.Strategy,
	"PodCertificateRequest":   podcertificaterequest.NewStrategy(),
	"StorageVersionMigration": storagemigration.Strategy,
	"DeviceClass":             deviceclass.Strategy, "DeviceTaintRule": devicetaintrule.Strategy, "ResourceSlice": resourceslice.Strategy,
	// What depends on other objects and on the sender is admission's here.
	"ResourceClaim": resourceclaim.NewStrategy(allowed{}, nil), "ResourceClaimTemplate": resourceclaimtemplate.NewStrategy(allowed{}),
}

var statusStrategies = map[string]rest.RESTUpdateStrategy{
	"Pod": pod.StatusStrategy, "Service": service.StatusStrategy, "Namespace": namespace.StatusStrategy,
	"Node": node.StatusStrategy, "Deployment": deployment.StatusStrategy, "ReplicaSet": replicaset.StatusStrategy,
	"PersistentVolume": persistentvolume.StatusStrategy, "PersistentVolumeClaim": persistentvolumeclaim.StatusStrategy,
	"PodDisruptionBudget": poddisruptionbudget.StatusStrategy, "CSINode": csinode.StatusStrategy,
	"VolumeAttachment": volumeattachment.StatusStrategy,
	"FlowSchema":       flowschema.StatusStrategy, "PriorityLevelConfiguration": prioritylevelconfiguration.StatusStrategy,
	"ServiceCIDR": servicecidr.StatusStrategy,
	"Job":         job.StatusStrategy, "CronJob": cronjob.StatusStrategy,
	"ReplicationController": replicationcontroller.StatusStrategy, "ResourceQuota": resourcequota.StatusStrategy,
	"Ingress": ingress.StatusStrategy, "HorizontalPodAutoscaler": horizontalpodautoscaler.StatusStrategy,
	"StatefulSet": statefulset.StatusStrategy, "DaemonSet": daemonset.StatusStrategy,
	"PodGroup": podgroup.NewStatusStrategy(podgroup.NewStrategy()), "CertificateSigningRequest": certificates.StatusStrategy,
	"DeviceTaintRule": devicetaintrule.StatusStrategy, "StorageVersionMigration": storagemigration.StatusStrategy,
}

type attributes func(runtime.Object) (labels.Set, fields.Set, error)

// Those of ReplicaSets, volumes and their claims are not here: kube-apiserver's conversion of field labels, which knows
// nothing of these kinds, refuses them first.
var attributesOf = map[string]attributes{
	"Pod": pod.GetAttrs, "Service": service.GetAttrs, "Namespace": namespace.GetAttrs, "Node": node.GetAttrs,
	"Secret": secret.GetAttrs, "Event": event.GetAttrs, "Job": job.GetAttrs, "ReplicationController": replicationcontroller.GetAttrs,
	"CertificateSigningRequest": certificates.GetAttrs, "ResourceSlice": resourceslice.GetAttrs,
}

// allowed finds each namespace, and that devices may be administered in it.
type allowed struct{ typedcorev1.NamespaceInterface }

func (allowed) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Namespace, error) {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"resource.kubernetes.io/admin-access": "true"}}}, nil
}
