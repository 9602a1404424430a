package node

import (
	"flag"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
)

func flagInt(name string, value int, usage string) *int { return flag.Int(name, value, usage) }

var (
	audiences  = []string{"", "vault", "migrated", "bank"}
	operations = []apiserver.Operation{apiserver.Create, apiserver.Update, apiserver.Delete}
	signers    = []string{"s.example/a", "s.example/b"}
)

// attempt is a random write.
func (w *restrictionWorld) attempt(t *testing.T) *attempt {
	return []func(*testing.T) *attempt{
		w.writePod, w.writePod, w.writeStatus, w.writeNode, w.writeNode, w.writeClaim, w.writeToken, w.writeToken, w.writeCertificateRequest,
		w.writeCertificateRequest, w.writeSmall, w.writeSigningRequest,
	}[w.IntN(12)](t)
}

func (w *restrictionWorld) op() apiserver.Operation { return operations[w.IntN(len(operations))] }

// mirror is a random pod that a node makes, mostly a good one.
func (w *restrictionWorld) mirror(ns, name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	of := w.pick(nodeNames)
	p.Spec.NodeName = of
	if !w.one(8) {
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "m"}
	}
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: of, UID: "u?", Controller: ptr.To(!w.one(8))}
	if n := w.nodes[of]; n != nil && !w.one(8) {
		owner.UID = n.UID
	}
	switch w.IntN(16) {
	case 0:
		owner.Controller = nil
	case 1:
		owner.BlockOwnerDeletion = ptr.To(true)
	case 2:
		owner.Kind = "Pod"
	case 3:
		owner.Name = w.pick(nodeNames)
	}
	if !w.one(8) {
		p.OwnerReferences = append(p.OwnerReferences, owner)
	}
	if w.one(12) {
		p.OwnerReferences = append(p.OwnerReferences, owner)
	}
	switch w.IntN(12) {
	case 0:
		p.Spec.ServiceAccountName = "x"
	case 1:
		p.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "c"}}
	case 2:
		p.Spec.Containers = []corev1.Container{{EnvFrom: w.envFrom(), Env: w.env()}}
	case 3, 4, 5, 6:
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: w.anySource()}}
	}
	return p
}

// anySource is a random source of a volume, with or without references.
func (w *restrictionWorld) anySource() corev1.VolumeSource {
	more := []corev1.VolumeSource{
		{}, {Glusterfs: &corev1.GlusterfsVolumeSource{}}, {DownwardAPI: &corev1.DownwardAPIVolumeSource{}}, {NFS: &corev1.NFSVolumeSource{}},
		{AzureFile: &corev1.AzureFileVolumeSource{}}, {Image: &corev1.ImageVolumeSource{}}, {GitRepo: &corev1.GitRepoVolumeSource{}},
		{CSI: &corev1.CSIVolumeSource{Driver: "x"}}, {Secret: &corev1.SecretVolumeSource{}}, {ConfigMap: &corev1.ConfigMapVolumeSource{}},
		{Projected: &corev1.ProjectedVolumeSource{}},
	}
	for _, s := range []corev1.VolumeProjection{
		{}, {DownwardAPI: &corev1.DownwardAPIProjection{}}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}},
		{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{}}, {PodCertificate: &corev1.PodCertificateProjection{}},
		{Secret: &corev1.SecretProjection{}}, {ConfigMap: &corev1.ConfigMapProjection{}},
	} {
		more = append(more, corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{s}}})
	}
	if i := w.IntN(len(more) + 8); i < len(more) {
		return more[i]
	}
	return w.source()
}

func (w *restrictionWorld) writePod(*testing.T) *attempt {
	a := &attempt{op: w.op(), gvr: corev1.SchemeGroupVersion.WithResource("pods"), kind: "Pod", ns: w.pick(namespaces), name: w.pick(names)}
	stored := w.pods[a.ns+"/"+a.name]
	switch w.IntN(6) {
	case 0:
		a.op, a.sub = apiserver.Create, "eviction"
		if w.one(8) {
			a.name = "gone"
		}
		e := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}
		e.SetGroupVersionKind(policyv1.SchemeGroupVersion.WithKind("Eviction"))
		a.body = e
		return a
	case 1:
		a.op, a.sub = apiserver.Create, "binding"
		b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}
		a.body = b
		return a
	}
	if a.op != apiserver.Delete {
		a.obj = w.mirror(a.ns, a.name)
	}
	if a.op != apiserver.Create {
		a.old = stored
	}
	return a
}

func (w *restrictionWorld) writeStatus(*testing.T) *attempt {
	a := &attempt{op: apiserver.Update, gvr: corev1.SchemeGroupVersion.WithResource("pods"), kind: "Pod", sub: "status", ns: w.pick(namespaces), name: w.pick(names)}
	stored := w.pods[a.ns+"/"+a.name].DeepCopy()
	if w.one(4) {
		stored.Status.NodeAllocatableResourceClaimStatuses = w.allocatable()
	}
	p := stored.DeepCopy()
	switch w.IntN(6) {
	case 0:
		p.Labels = map[string]string{"a": "b"}
	case 1:
		w.claimStatuses(p)
	case 2:
		p.Status.NodeAllocatableResourceClaimStatuses = w.allocatable()
	case 3:
		if s := p.Status.ExtendedResourceClaimStatus; s != nil {
			s.RequestMappings = []corev1.ContainerExtendedResourceRequest{{ContainerName: "c"}}
		}
	}
	a.obj, a.old = p, stored
	return a
}

func (w *restrictionWorld) allocatable() []corev1.NodeAllocatableResourceClaimStatus {
	q := resource.MustParse(w.pick([]string{"1", "1000m", "2"}))
	return []corev1.NodeAllocatableResourceClaimStatus{{ResourceClaimName: w.pick(names), Containers: []string{"c"},
		Mapping: []corev1.NodeAllocatableMappedResources{{Name: "cpu", Quantity: &q}}}}
}

func (w *restrictionWorld) writeNode(*testing.T) *attempt {
	a := &attempt{op: w.op(), gvr: corev1.SchemeGroupVersion.WithResource("nodes"), kind: "Node", name: w.pick(nodeNames), sub: w.pick([]string{"", "status"})}
	old := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.name, Labels: w.labels()}}
	n := old.DeepCopy()
	switch w.IntN(6) {
	case 0:
		n.Labels = w.labels()
	case 1:
		n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
	case 2:
		n.OwnerReferences = []metav1.OwnerReference{{Name: "o"}}
	case 3:
		n.Spec.ConfigSource = &corev1.NodeConfigSource{ConfigMap: &corev1.ConfigMapNodeConfigSource{Name: "c"}} //nolint:staticcheck // nodes could send it
		if w.one(2) {
			old.Spec.ConfigSource = n.Spec.ConfigSource
		}
	}
	if a.op != apiserver.Delete {
		a.obj = n
	}
	if a.op != apiserver.Create {
		a.old = old
	}
	return a
}

func (w *restrictionWorld) labels() map[string]string {
	all := []string{
		"plain", "example.com/a", "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/other", "node-role.kubernetes.io/x",
		"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region", "beta.kubernetes.io/os", "beta.kubernetes.io/x",
		"kubelet.kubernetes.io/a", "sub.kubelet.kubernetes.io/a", "node.kubernetes.io/instance-type", "my.node.kubernetes.io/b",
		"node-restriction.kubernetes.io/a", "sub.node-restriction.kubernetes.io/a", "k8s.io/a", "x.k8s.io/b", "notk8s.io/a", "xkubernetes.io/b",
	}
	out := map[string]string{}
	for range w.IntN(3) {
		out[w.pick(all)] = w.pick(names)
	}
	return out
}

func (w *restrictionWorld) writeClaim(*testing.T) *attempt {
	a := &attempt{op: apiserver.Update, gvr: corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"), kind: "PersistentVolumeClaim", sub: "status", ns: w.pick(namespaces), name: w.pick(names)}
	if w.one(6) {
		a.sub = ""
	}
	old := w.claims[a.ns+"/"+a.name]
	c := old.DeepCopy()
	switch w.IntN(6) {
	case 0:
		c.Status.Capacity = corev1.ResourceList{"storage": resource.MustParse("1")}
		c.Status.AllocatedResources = c.Status.Capacity
		c.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{"storage": "s"}
	case 1:
		c.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "t"}}
		c.ResourceVersion = "7"
		c.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m"}}
	case 2:
		c.Labels = map[string]string{"a": "b"}
	case 3:
		c.Spec.VolumeName = "other"
	case 4:
		c.Status.Phase = corev1.ClaimLost
	}
	a.obj, a.old = c, old
	return a
}

func (w *restrictionWorld) writeToken(*testing.T) *attempt {
	a := &attempt{op: apiserver.Create, gvr: corev1.SchemeGroupVersion.WithResource("serviceaccounts"), kind: "TokenRequest", sub: "token", ns: w.pick(namespaces), name: w.pick(names)}
	tr := &authenticationv1.TokenRequest{}
	tr.SetGroupVersionKind(authenticationv1.SchemeGroupVersion.WithKind("TokenRequest"))
	for range w.IntN(3) {
		tr.Spec.Audiences = append(tr.Spec.Audiences, w.pick(audiences))
	}
	ref := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: w.pick(append([]string{"", "gone"}, names...)), UID: "u?"}
	if p := w.pods[a.ns+"/"+ref.Name]; p != nil && !w.one(5) {
		ref.UID = p.UID
	}
	switch w.IntN(16) {
	case 0:
		ref = nil
	case 1:
		ref.Kind = "Secret"
	case 2:
		ref.UID = ""
	case 3:
		ref.APIVersion = ""
	}
	tr.Spec.BoundObjectRef = ref
	a.body = tr
	return a
}

// writeCertificateRequest asks for a pod's certificate, mostly as it should be.
func (w *restrictionWorld) writeCertificateRequest(*testing.T) *attempt {
	a := &attempt{op: apiserver.Create, gvr: certificatesv1.SchemeGroupVersion.WithResource("podcertificaterequests"), kind: "PodCertificateRequest", ns: w.pick(namespaces), name: "r"}
	r := &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: a.ns, Name: a.name}}
	r.Spec.SignerName, r.Spec.PodName = w.pick(signers), w.pick(append([]string{"gone"}, names...))
	r.Spec.NodeName, r.Spec.NodeUID, r.Spec.PodUID, r.Spec.ServiceAccountUID = types.NodeName(w.pick(nodeNames)), "u?", "u?", "u?"
	r.Spec.ServiceAccountName = w.pick(append([]string{"gone"}, names...))
	if p := w.pods[a.ns+"/"+r.Spec.PodName]; p != nil && !w.one(10) {
		r.Spec.PodUID = p.UID
		if p.Spec.NodeName != "" && !w.one(4) {
			r.Spec.NodeName = types.NodeName(p.Spec.NodeName)
		}
		if !w.one(8) {
			r.Spec.ServiceAccountName = p.Spec.ServiceAccountName
		}
	}
	if n := w.nodes[string(r.Spec.NodeName)]; n != nil && !w.one(10) {
		r.Spec.NodeUID = n.UID
	}
	if sa := w.accounts[a.ns+"/"+r.Spec.ServiceAccountName]; sa != nil && !w.one(10) {
		r.Spec.ServiceAccountUID = sa.UID
	}
	a.obj = r
	if w.one(20) {
		a.op, a.old = apiserver.Update, r
	}
	return a
}

func (w *restrictionWorld) writeSigningRequest(t *testing.T) *attempt {
	a := &attempt{op: w.op(), gvr: certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests"), kind: "CertificateSigningRequest", name: "r"}
	r := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: a.name}}
	r.Spec.SignerName = w.pick([]string{certificatesv1.KubeletServingSignerName, certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeAPIServerClientSignerName})
	r.Spec.Request = w.signingRequest(t, w.pick([]string{"system:node:n1", "system:node:n2", "x"}))
	if w.one(6) {
		r.Spec.Request = []byte("x")
	}
	if a.op != apiserver.Delete {
		a.obj = r
	}
	if a.op != apiserver.Create {
		a.old = r
	}
	return a
}

// writeSmall writes what has a node's name.
func (w *restrictionWorld) writeSmall(*testing.T) *attempt {
	name := w.pick(nodeNames)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.pick([]string{"kube-node-lease", "kube-node-lease", "a"}), Name: name}}
	csi := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "s"}}
	if !w.one(4) {
		slice.Spec.NodeName = ptr.To(w.pick(nodeNames))
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}}
	a := []*attempt{
		{gvr: coordinationv1.SchemeGroupVersion.WithResource("leases"), kind: "Lease", obj: lease, old: lease, ns: lease.Namespace, name: name},
		{gvr: storagev1.SchemeGroupVersion.WithResource("csinodes"), kind: "CSINode", obj: csi, old: csi, name: name, sub: w.pick([]string{"", "", "status"})},
		{gvr: resourcev1.SchemeGroupVersion.WithResource("resourceslices"), kind: "ResourceSlice", obj: slice, old: slice, name: "s"},
		{gvr: corev1.SchemeGroupVersion.WithResource("secrets"), kind: "Secret", obj: secret, old: secret, ns: "a", name: "s"},
	}[w.IntN(4)]
	switch a.op = w.op(); a.op {
	case apiserver.Create:
		a.old = nil
	case apiserver.Delete:
		a.obj = nil
	}
	return a
}

// projected gives a pod tokens and certificates to ask for.
func (w *restrictionWorld) projected(p *corev1.Pod) *corev1.Pod {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: w.pick(audiences)}},
		{PodCertificate: &corev1.PodCertificateProjection{SignerName: w.pick(signers)}}}}}})
	if w.one(2) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "c", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: w.pick(append([]string{"gone"}, names...))}}})
	}
	return p
}

// migratable makes some volumes those of a CSI driver, by itself or by the table of Kubernetes.
func (w *restrictionWorld) migratable(old corev1.PersistentVolumeSource) corev1.PersistentVolumeSource {
	switch w.IntN(3) {
	case 0:
		return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: w.pick(names)}}
	case 1:
		return corev1.PersistentVolumeSource{AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: "s", ShareName: "x"}}
	}
	return old
}
