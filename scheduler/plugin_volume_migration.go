package scheduler

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	csitranslation "k8s.io/csi-translation-lib"
	"k8s.io/csi-translation-lib/plugins"
)

// Volumes of in-tree kinds, such as awsElasticBlockStore, are served by CSI drivers today. What such a volume
// is called there, and which labels of nodes its topology is about, is Kubernetes' own table.
// https://kubernetes.io/docs/concepts/storage/volumes/#csi-migration

var csi csitranslation.CSITranslator

// migrated are the in-tree plugins whose migration can't be switched off and that the scheduler follows.
var migrated = []string{
	plugins.AWSEBSInTreePluginName, plugins.GCEPDInTreePluginName, plugins.AzureDiskInTreePluginName,
	plugins.CinderInTreePluginName, plugins.PortworxVolumePluginName,
}

func inlineMigratable(v *corev1.Volume) bool { return csi.IsInlineMigratable(v) }

// silently calls f with the zero logger, which discards; see quietly.
func silently[L, A, R any](f func(L, A) (R, error), a A) (R, error) {
	var none L
	return f(none, a)
}

// translated returns the volume as a node sees it: as one of a CSI driver when the node says that it has
// moved that plugin's volumes there.
func translated(v *corev1.PersistentVolume, node *storagev1.CSINode) (*corev1.PersistentVolume, error) {
	if node == nil || !csi.IsPVMigratable(v) {
		return v, nil
	}
	plugin, err := csi.GetInTreePluginNameFromSpec(v, nil)
	if err != nil {
		return nil, fmt.Errorf("could not get plugin name from pv: %w", err)
	}
	on := strings.Split(node.Annotations[corev1.MigratedPluginsAnnotationKey], ",")
	if !slices.Contains(migrated, plugin) || !slices.Contains(on, plugin) {
		return v, nil
	}
	out, err := silently(csi.TranslateInTreePVToCSI, v)
	if err != nil {
		return nil, fmt.Errorf("could not translate pv: %w", err)
	}
	return out, nil
}

// attachment names a volume as the node counts it: by its driver and the driver's own name of it.
type attachment struct{ driver, handle string }

// attachmentOfVolume returns false for a volume that no CSI driver serves. Migration counts on nodes that run
// any CSI driver at all.
func attachmentOfVolume(v *corev1.PersistentVolume, csiNode bool) (attachment, bool) {
	if v.Spec.CSI == nil {
		if !csiNode || !csi.IsPVMigratable(v) {
			return attachment{}, false
		}
		plugin, err := csi.GetInTreePluginNameFromSpec(v, nil)
		if err != nil || !slices.Contains(migrated, plugin) {
			return attachment{}, false
		}
		if v, err = silently(csi.TranslateInTreePVToCSI, v); err != nil || v.Spec.CSI == nil {
			return attachment{}, false
		}
	}
	a := attachment{v.Spec.CSI.Driver, v.Spec.CSI.VolumeHandle}
	return a, a.driver != "" && a.handle != ""
}

// attachmentOfInline is attachmentOfVolume for a volume that stands in the pod.
func attachmentOfInline(v *corev1.Volume, namespace string, csiNode bool) (attachment, bool, error) {
	if !csiNode {
		return attachment{}, false, nil
	}
	plugin, err := csi.GetInTreePluginNameFromSpec(nil, v)
	if err != nil {
		return attachment{}, false, fmt.Errorf("looking up provisioner name for volume %s: %w", v.Name, err)
	}
	if !slices.Contains(migrated, plugin) {
		return attachment{}, false, nil
	}
	pv, err := translateInline(csi.TranslateInTreeInlineVolumeToCSI, v, namespace)
	if err != nil {
		return attachment{}, false, fmt.Errorf("converting volume(%s) from inline to csi: %w", v.Name, err)
	}
	driver, err := csi.GetCSINameFromInTreeName(plugin)
	if err != nil {
		return attachment{}, false, fmt.Errorf("looking up CSI driver name for provisioner %s: %w", plugin, err)
	}
	if pv.Spec.CSI == nil {
		return attachment{}, false, nil
	}
	return attachment{driver, pv.Spec.CSI.VolumeHandle}, true, nil
}

func translateInline[L any](f func(L, *corev1.Volume, string) (*corev1.PersistentVolume, error), v *corev1.Volume, namespace string) (*corev1.PersistentVolume, error) {
	var none L
	return f(none, v, namespace)
}

// provisionerDriver returns the CSI driver that provisions for a class; false when none does on such a node.
func provisionerDriver(provisioner string, csiNode bool) (string, bool) {
	if !csi.IsMigratableIntreePluginByName(provisioner) {
		return provisioner, provisioner != ""
	}
	if !csiNode || !slices.Contains(migrated, provisioner) {
		return "", false
	}
	driver, err := csi.GetCSINameFromInTreeName(provisioner)
	return driver, err == nil
}
