package core

//lint:file-ignore SA1019 fields that are deprecated are what is warned of

import (
	"crypto/tls"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/nodelabel"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

func podWarnings(o, old *corev1.Pod) []string {
	if old != nil {
		return nil // people hardly ever change pods, and programs do not read warnings
	}
	return append(podspec.NameWarnings(o.Name, "the Pod's hostname"), podspec.Warnings(&o.ObjectMeta, &o.Spec, nil)...)
}

func podStatusWarnings(o, _ *corev1.Pod) (out []string) {
	path := field.NewPath("status")
	for i, ip := range o.Status.PodIPs {
		out = append(out, validation.GetWarningsForIP(path.Child("podIPs").Index(i).Child("ip"), ip.IP)...)
	}
	for i, ip := range o.Status.HostIPs {
		out = append(out, validation.GetWarningsForIP(path.Child("hostIPs").Index(i).Child("ip"), ip.IP)...)
	}
	return out
}

func podTemplateWarnings(o, old *corev1.PodTemplate) []string {
	return podspec.TemplateWarnings(&o.Template, field.NewPath("template"), old == nil || o.Generation != old.Generation)
}

func replicationControllerWarnings(o, old *corev1.ReplicationController) []string {
	if old == nil {
		return append(podspec.NameWarnings(o.Name, "Pod names and hostnames"),
			podspec.TemplateWarnings(o.Spec.Template, specPath.Child("template"), o.Spec.Template != nil)...)
	}
	// Kubernetes looks at the template that there was.
	return podspec.TemplateWarnings(old.Spec.Template, specPath.Child("template"), old.Spec.Template != nil && o.Generation != old.Generation)
}

// claimWarnings are about fractions of bytes and an annotation that has a better place.
func claimWarnings(o, _ *corev1.PersistentVolumeClaim) []string {
	var out []string
	if _, ok := o.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		out = append(out, annotationPath(corev1.BetaStorageClassAnnotation)+oldStorageClass)
	}
	return append(out, podspec.ClaimWarnings(&o.Spec, specPath)...)
}

const oldStorageClass = `: deprecated since v1.8; use "storageClassName" attribute instead`

func annotationPath(name string) string {
	return field.NewPath("metadata", "annotations").Key(name).String()
}

func volumeWarnings(o, _ *corev1.PersistentVolume) []string {
	var out []string
	if _, ok := o.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		out = append(out, annotationPath(corev1.BetaStorageClassAnnotation)+oldStorageClass)
	}
	if _, ok := o.Annotations[corev1.MountOptionAnnotation]; ok {
		out = append(out, annotationPath(corev1.MountOptionAnnotation)+`: deprecated since v1.31; use "mountOptions" attribute instead`)
	}
	s := &o.Spec
	if s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		out = append(out, "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")
	}
	if s.NodeAffinity != nil && s.NodeAffinity.Required != nil {
		path := specPath.Child("nodeAffinity", "required", "nodeSelectorTerms")
		for i := range s.NodeAffinity.Required.NodeSelectorTerms {
			out = append(out, nodelabel.Term(&s.NodeAffinity.Required.NodeSelectorTerms[i], false, path.Index(i))...)
		}
	}
	for _, old := range []struct {
		used bool
		text string
	}{
		{s.CephFS != nil, "spec.cephfs: deprecated in v1.28, non-functional in v1.31+"},
		{s.PhotonPersistentDisk != nil, "spec.photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"},
		{s.ScaleIO != nil, "spec.scaleIO: deprecated in v1.16, non-functional in v1.22+"},
		{s.StorageOS != nil, "spec.storageOS: deprecated in v1.22, non-functional in v1.25+"},
		{s.Glusterfs != nil, "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"},
		{s.RBD != nil, "spec.rbd: deprecated in v1.28, non-functional in v1.31+"},
	} {
		if old.used {
			out = append(out, old.text)
		}
	}
	return out
}

func serviceWarnings(o, _ *corev1.Service) []string {
	s := &o.Spec
	var out []string
	if _, ok := o.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		out = append(out, fmt.Sprintf("annotation %s is deprecated, please use %s instead", corev1.DeprecatedAnnotationTopologyAwareHints, corev1.AnnotationTopologyMode))
	}
	headless := s.ClusterIP == corev1.ClusterIPNone
	if s.ClusterIP != "" && !headless {
		out = append(out, unusualIPs(s.ClusterIPs, specPath.Child("clusterIPs"))...)
	}
	if headless = headless && s.Type == corev1.ServiceTypeClusterIP; headless {
		if s.LoadBalancerIP != "" {
			out = append(out, "spec.loadBalancerIP is ignored for headless services")
		}
		if len(s.ExternalIPs) > 0 {
			out = append(out, "spec.externalIPs is ignored for headless services")
		}
		if s.SessionAffinity != corev1.ServiceAffinityNone {
			out = append(out, "spec.SessionAffinity is ignored for headless services")
		}
	}
	out = append(out, unusualIPs(s.ExternalIPs, specPath.Child("externalIPs"))...)
	if len(s.ExternalIPs) > 0 && !headless && s.Type != corev1.ServiceTypeExternalName {
		out = append(out, "spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	}
	if s.LoadBalancerIP != "" {
		out = append(out, validation.GetWarningsForIP(specPath.Child("loadBalancerIP"), s.LoadBalancerIP)...)
	}
	for i, cidr := range s.LoadBalancerSourceRanges {
		out = append(out, validation.GetWarningsForCIDR(specPath.Child("loadBalancerSourceRanges").Index(i), cidr)...)
	}
	switch external := s.Type == corev1.ServiceTypeExternalName; {
	case external && len(s.ExternalIPs) > 0:
		out = append(out, `spec.externalIPs is ignored when spec.type is "ExternalName"`)
	case !external && s.ExternalName != "":
		out = append(out, `spec.externalName is ignored when spec.type is not "ExternalName"`)
	}
	if ptr.Deref(s.TrafficDistribution, "") == corev1.ServiceTrafficDistributionPreferClose {
		out = append(out, fmt.Sprintf("spec.trafficDistribution: %q is deprecated; use %q", corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone))
	}
	return out
}

func unusualIPs(ips []string, path *field.Path) (out []string) {
	for i, ip := range ips {
		out = append(out, validation.GetWarningsForIP(path.Index(i), ip)...)
	}
	return out
}

func serviceStatusWarnings(o, _ *corev1.Service) (out []string) {
	for i, at := range o.Status.LoadBalancer.Ingress {
		if at.IP != "" {
			out = append(out, validation.GetWarningsForIP(field.NewPath("status", "loadBalancer", "ingress").Index(i), at.IP)...)
		}
	}
	return out
}

// endpointsWarnings are not told to the controller that writes most of these objects.
func endpointsWarnings(o, _ *corev1.Endpoints) (out []string) {
	if o.Labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
		return nil
	}
	of := func(list []corev1.EndpointAddress, path *field.Path) {
		for i, a := range list {
			out = append(out, validation.GetWarningsForIP(path.Index(i).Child("ip"), a.IP)...)
		}
	}
	for i := range o.Subsets {
		path := field.NewPath("subsets").Index(i)
		of(o.Subsets[i].Addresses, path.Child("addresses"))
		of(o.Subsets[i].NotReadyAddresses, path.Child("notReadyAddresses"))
	}
	return out
}

func nodeWarnings(o, _ *corev1.Node) (out []string) {
	if o.Spec.ConfigSource != nil {
		out = append(out, "spec.configSource: the feature is removed")
	}
	if o.Spec.DoNotUseExternalID != "" {
		out = append(out, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
	}
	for i, cidr := range o.Spec.PodCIDRs {
		out = append(out, validation.GetWarningsForCIDR(specPath.Child("podCIDRs").Index(i), cidr)...)
	}
	return out
}

// secretWarnings tells of a certificate and a key that can't be used together.
func secretWarnings(o, _ *corev1.Secret) []string {
	if o.Type != corev1.SecretTypeTLS {
		return nil
	}
	if _, err := tls.X509KeyPair(o.Data[corev1.TLSCertKey], o.Data[corev1.TLSPrivateKeyKey]); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func serviceAccountWarnings(o, old *corev1.ServiceAccount) []string {
	const annotation = "kubernetes.io/enforce-mountable-secrets"
	_, is := o.Annotations[annotation]
	if old != nil {
		if _, was := old.Annotations[annotation]; was {
			return nil
		}
	}
	if !is {
		return nil
	}
	return []string{"metadata.annotations[" + annotation + "]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
}

// quotaWarnings tells of requests that may be more than limits.
func quotaWarnings(o, old *corev1.ResourceQuota) (out []string) {
	if old != nil {
		return nil
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceStorage, corev1.ResourceEphemeralStorage} {
		requests, limits := "requests."+name, "limits."+name
		request, ok := o.Spec.Hard[requests]
		if !ok && (name == corev1.ResourceCPU || name == corev1.ResourceMemory) {
			if request, ok = o.Spec.Hard[name]; ok {
				requests = name
			}
		}
		if limit, both := o.Spec.Hard[limits]; ok && both && request.Cmp(limit) > 0 {
			out = append(out, fmt.Sprintf("ResourceQuota %s (%s) should be less than %s (%s)", requests, request.String(), limits, limit.String()))
		}
	}
	return out
}
