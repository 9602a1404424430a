package apiserver

import (
	"slices"
)

// Names of plugins that the server knows by name.
const (
	namespaceLifecycleName = "NamespaceLifecycle"
	resourceQuotaName      = "ResourceQuota"
)

// admissionOrder is the order of kube-apiserver's plugins, as far as this library has them or a program
// may want to add them. Plugins of other names come before ResourceQuota.
var admissionOrder = []string{
	"NamespaceAutoProvision", namespaceLifecycleName, "NamespaceExists", "LimitPodHardAntiAffinityTopology", "LimitRanger",
	"ServiceAccount", "NodeRestriction", "TaintNodesByCondition", "AlwaysPullImages", "ImagePolicyWebhook", "PodSecurity",
	"PodNodeSelector", "Priority", "DefaultTolerationSeconds", "PodTolerationRestriction", "EventRateLimit",
	"ExtendedResourceToleration", "DefaultStorageClass", "StorageObjectInUseProtection", "PodGroupProtection",
	"OwnerReferencesPermissionEnforcement", "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval",
	"CertificateSigning", "ClusterTrustBundleAttest", "CertificateSubjectRestriction", "DefaultIngressClass",
	"DenyServiceExternalIPs", "PodTopologyLabels", "NodeDeclaredFeatureValidator", "PodResizeValidator",
	"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook",
}

// builtinAdmission returns the plugins that are on by default, as in kube-apiserver. Those about kinds that
// are not served find nothing to do.
func (s *Server) builtinAdmission() []AdmissionPlugin {
	return []AdmissionPlugin{
		{Name: namespaceLifecycleName, Admit: s.namespaceLifecycle},
		{Name: "LimitRanger", Admit: limitDefaults, Validate: limitBounds},
		{Name: "ServiceAccount", Admit: s.serviceAccount},
		{Name: "TaintNodesByCondition", Admit: taintNewNodes},
		s.builtinPodSecurity(),
		{Name: "Priority", Admit: s.priority},
		{Name: "Priority", Validate: s.keepPriorityClasses, Conditional: true},
		{Name: "DefaultTolerationSeconds", Admit: defaultTolerations},
		{Name: "DefaultStorageClass", Admit: defaultStorageClass},
		{Name: "StorageObjectInUseProtection", Admit: protectStorage},
		{Name: "PersistentVolumeClaimResize", Validate: claimResize},
		{Name: "RuntimeClass", Admit: runtimeClass, Validate: runtimeClassOverhead},
		{Name: "CertificateApproval", Validate: certificateApproval},
		{Name: "CertificateSigning", Validate: certificateSigning},
		{Name: "ClusterTrustBundleAttest", Validate: trustBundleAttest},
		{Name: "CertificateSubjectRestriction", Validate: certificateSubject},
		{Name: "PodCertificateSigning", Validate: podCertificateSigning},
		{Name: "DefaultIngressClass", Admit: defaultIngressClass},
		{Name: "DeviceClaims", Validate: deviceClaims},
		{Name: "NodeDeclaredFeatureValidator", Validate: nodeDeclaresFeatures},
		{Name: "PodResizeValidator", Validate: podResize},
		{Name: resourceQuotaName, Validate: s.resourceQuota},
	}
}

// admissionPlugins returns all plugins in the order that they run in.
func (s *Server) admissionPlugins() []AdmissionPlugin {
	var list []AdmissionPlugin
	for _, p := range s.builtinAdmission() {
		replaced := slices.ContainsFunc(s.cfg.Admission, func(own AdmissionPlugin) bool { return own.Name == p.Name })
		if !replaced && !slices.Contains(s.cfg.DisableAdmission, p.Name) {
			list = append(list, p)
		}
	}
	list = append(list, s.cfg.Admission...)
	if p, ok := s.cfg.Authorizer.(Policy); ok {
		list = append(list, AdmissionPlugin{Name: "Policy", Admit: p.Admit})
	}
	slices.SortStableFunc(list, func(a, b AdmissionPlugin) int { return admissionRank(a.Name) - admissionRank(b.Name) })
	return list
}

func admissionRank(name string) int {
	if name == resourceQuotaName {
		return len(admissionOrder) + 1
	}
	if i := slices.Index(admissionOrder, name); i >= 0 {
		return i
	}
	return len(admissionOrder)
}
