package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/diff"

	"github.com/inboard/inboard/apiserver"
)

func (w *write) pods() error {
	switch w.Ref.Subresource {
	case "":
		switch w.Operation {
		case apiserver.Create:
			return w.createPod()
		case apiserver.Delete:
			return w.deletePod()
		}
		return fmt.Errorf("unexpected operation %q, node %q can only create and delete mirror pods", w.Operation, w.node)
	case "status":
		return w.podStatus()
	case "eviction":
		return w.evictPod()
	}
	return fmt.Errorf("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", w.Ref.Subresource)
}

// createPod lets nodes make mirror pods, which stand for pods that they run of their own accord.
func (w *write) createPod() error {
	p, ok := w.Object.(*corev1.Pod)
	if !ok {
		return unexpected(w.Object)
	}
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; !mirror {
		return fmt.Errorf("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, w.node)
	}
	if p.Spec.NodeName != w.node {
		return fmt.Errorf("node %q can only create pods with spec.nodeName set to itself", w.node)
	}
	if err := w.ownsPod(p); err != nil {
		return err
	}
	switch what, err := refersTo(p); {
	case err != nil:
		return fmt.Errorf("error checking mirror pod for API references: %w", err)
	case what != "":
		return fmt.Errorf("node %q can not create pods that reference %s", w.node, what)
	}
	return nil
}

// ownsPod checks that a pod has one owner, its node.
func (w *write) ownsPod(p *corev1.Pod) error {
	switch len(p.OwnerReferences) {
	case 0:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", w.node)
	case 1:
	default:
		return fmt.Errorf("node %q can only create pods with a single owner reference set to itself", w.node)
	}
	owner := &p.OwnerReferences[0]
	switch {
	case owner.APIVersion != corev1.SchemeGroupVersion.String() || owner.Kind != "Node" || owner.Name != w.node:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", w.node)
	case owner.Controller == nil || !*owner.Controller:
		return fmt.Errorf("node %q can only create pods with a controller owner reference set to itself", w.node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return fmt.Errorf("node %q must not set blockOwnerDeletion on an owner reference", w.node)
	}
	node, err := w.lookupNode()
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return fmt.Errorf("error looking up node %s to verify uid: %w", w.node, err)
	case owner.UID != node.UID:
		return fmt.Errorf("node %s UID mismatch: expected %s got %s", w.node, owner.UID, node.UID)
	}
	return nil
}

func (w *write) deletePod() error {
	p, ok := w.Old.(*corev1.Pod)
	if !ok {
		return unexpected(w.Old)
	}
	if p.Spec.NodeName != w.node {
		return fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", w.node)
	}
	return nil
}

func (w *write) podStatus() error {
	if w.Operation != apiserver.Update {
		return fmt.Errorf("unexpected operation %q", w.Operation)
	}
	before, ok := w.Old.(*corev1.Pod)
	if !ok {
		return unexpected(w.Old)
	}
	after, ok := w.Object.(*corev1.Pod)
	if !ok {
		return unexpected(w.Object)
	}
	a, b := &before.Status, &after.Status
	switch {
	case before.Spec.NodeName != w.node:
		return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", w.node)
	case !maps.Equal(before.Labels, after.Labels):
		return fmt.Errorf("node %q cannot update labels through pod status", w.node)
	case len(a.ResourceClaimStatuses)+len(b.ResourceClaimStatuses) > 0 && !apiequality.Semantic.DeepEqual(a.ResourceClaimStatuses, b.ResourceClaimStatuses):
		return fmt.Errorf("node %q cannot update resource claim statues", w.node)
	case !sameExtended(a.ExtendedResourceClaimStatus, b.ExtendedResourceClaimStatus):
		return fmt.Errorf("node %q cannot update extended resource claim status", w.node)
	case !slices.EqualFunc(a.NodeAllocatableResourceClaimStatuses, b.NodeAllocatableResourceClaimStatuses, sameAllocatable):
		return fmt.Errorf("node %q cannot update node allocatable resource claim statuses", w.node)
	}
	return nil
}

func sameExtended(a, b *corev1.PodExtendedResourceClaimStatus) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ResourceClaimName == b.ResourceClaimName && slices.Equal(a.RequestMappings, b.RequestMappings)
}

func sameAllocatable(a, b corev1.NodeAllocatableResourceClaimStatus) bool {
	return apiequality.Semantic.DeepEqual(a, b)
}

func (w *write) evictPod() error {
	if w.Operation != apiserver.Create {
		return fmt.Errorf("unexpected operation %s", w.Operation)
	}
	if _, ok := w.Body.(*policyv1.Eviction); !ok {
		return unexpected(w.Body)
	}
	p, err := w.lookupPod(w.Ref.Name)
	if err != nil {
		return err
	}
	if p.Spec.NodeName != w.node {
		return fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", w.node)
	}
	return nil
}

// claims lets nodes tell how large a volume has become, and nothing else.
func (w *write) claims() error {
	if w.Ref.Subresource != "status" {
		return errors.New("may only update PVC status")
	}
	if w.Operation != apiserver.Update {
		return fmt.Errorf("unexpected operation %q", w.Operation)
	}
	before, ok := w.Old.(*corev1.PersistentVolumeClaim)
	if !ok {
		return unexpected(w.Old)
	}
	after, ok := w.Object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return unexpected(w.Object)
	}
	before, after = before.DeepCopy(), after.DeepCopy()
	for _, c := range []*corev1.PersistentVolumeClaim{before, after} {
		c.ResourceVersion, c.ManagedFields = "", nil
		c.Status.Capacity, c.Status.Conditions = nil, nil
		c.Status.AllocatedResources, c.Status.AllocatedResourceStatuses = nil, nil
	}
	if !apiequality.Semantic.DeepEqual(before, after) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.quantity and status.conditions: %v", w.node, diff.Diff(before, after))
	}
	return nil
}

// refersTo returns the plural of a resource of the API that a pod needs, "" when it needs none.
func refersTo(p *corev1.Pod) (string, error) {
	if p.Spec.ServiceAccountName != "" {
		return "serviceaccounts", nil
	}
	found := false
	note := func(name string) { found = found || name != "" }
	if eachSecret(&p.Spec, note); found {
		return "secrets", nil
	}
	if eachConfigMap(&p.Spec, note); found {
		return "configmaps", nil
	}
	if len(p.Spec.ResourceClaims) > 0 {
		return "resourceclaims", nil
	}
	for i := range p.Spec.Volumes {
		if what, err := volumeRefersTo(&p.Spec.Volumes[i]); what != "" || err != nil {
			return what, err
		}
	}
	return "", nil
}

func volumeRefersTo(v *corev1.Volume) (string, error) {
	switch {
	case v.AWSElasticBlockStore != nil, v.AzureDisk != nil, v.CephFS != nil, v.Cinder != nil, v.DownwardAPI != nil, v.EmptyDir != nil,
		v.FC != nil, v.FlexVolume != nil, v.Flocker != nil, v.GCEPersistentDisk != nil, v.GitRepo != nil, v.HostPath != nil, v.Image != nil,
		v.ISCSI != nil, v.NFS != nil, v.PhotonPersistentDisk != nil, v.PortworxVolume != nil, v.Quobyte != nil, v.RBD != nil, v.ScaleIO != nil,
		v.StorageOS != nil, v.VsphereVolume != nil:
		return "", nil
	case v.ConfigMap != nil:
		return "configmaps (via configmap volumes)", nil
	case v.Secret != nil:
		return "secrets (via secret volumes)", nil
	case v.CSI != nil:
		return "csidrivers (via CSI volumes)", nil
	case v.Glusterfs != nil:
		return "endpoints (via glusterFS volumes)", nil
	case v.PersistentVolumeClaim != nil:
		return "persistentvolumeclaims", nil
	case v.Ephemeral != nil:
		return "persistentvolumeclaims (via ephemeral volumes)", nil
	case v.AzureFile != nil:
		return "secrets (via azureFile volumes)", nil
	case v.Projected == nil:
		return "", fmt.Errorf("unknown volume type for volume  %q", v.Name)
	}
	for i := range v.Projected.Sources {
		switch s := &v.Projected.Sources[i]; {
		case s.ConfigMap != nil:
			return "configmaps (via projected volumes)", nil
		case s.Secret != nil:
			return "secrets (via projected volumes)", nil
		case s.ServiceAccountToken != nil:
			return "serviceaccounts (via projected volumes)", nil
		case s.ClusterTrustBundle != nil:
			return "clustertrustbundles", nil
		case s.PodCertificate != nil:
			return "podcertificates", nil
		case s.DownwardAPI == nil:
			return "", fmt.Errorf("unknown source for projected volume %q", v.Name)
		}
	}
	return "", nil
}
