package scheduler

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/inboard/inboard/apiserver/client"
)

func (st *story) setObjects(t *testing.T, text string) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, storagev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	b := st.snapshot.Edit()
	for _, doc := range strings.Split(text, "\n---\n") {
		decoded, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		obj := decoded.(client.Object)
		switch x := obj.(type) {
		case *corev1.PersistentVolume:
			x.Status.Phase = corev1.VolumeAvailable
		case *storagev1.StorageClass:
			if x.VolumeBindingMode == nil { // as the API server does
				x.VolumeBindingMode = new(storagev1.VolumeBindingImmediate)
			}
		}
		namespaced := true
		switch obj.(type) {
		case *corev1.PersistentVolume, *storagev1.StorageClass, *storagev1.CSINode, *storagev1.CSIDriver, *storagev1.VolumeAttachment:
			namespaced = false
		}
		if namespaced && obj.GetNamespace() == "" {
			obj.SetNamespace("default")
		}
		b.SetObject(obj)
	}
	st.snapshot = b.Snapshot()
}

func (st *story) claims() string {
	var b strings.Builder
	for _, c := range sortedGroup[*corev1.PersistentVolumeClaim](st.snapshot, "") {
		fmt.Fprintf(&b, "%s:", c.Name)
		switch node, told := c.Annotations[annSelectedNode]; {
		case fullyBound(c):
			fmt.Fprintf(&b, " bound to %s", c.Spec.VolumeName)
		case st.reserved(c) != nil:
			fmt.Fprintf(&b, " %s is reserved for it", st.reserved(c).Name)
		case told:
			fmt.Fprintf(&b, " waits for a volume for %s", node)
		default:
			fmt.Fprintf(&b, " pending")
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

func (st *story) reserved(c *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	for _, v := range sortedGroup[*corev1.PersistentVolume](st.snapshot, "") {
		if reservedFor(v, c) {
			return v
		}
	}
	return nil
}

func (st *story) bindClaims() {
	b := st.snapshot.Edit()
	for _, c := range sortedGroup[*corev1.PersistentVolumeClaim](st.snapshot, "") {
		v := st.reserved(c)
		if v == nil {
			continue
		}
		v, c = v.DeepCopy(), c.DeepCopy()
		v.Status.Phase, c.Status.Phase, c.Spec.VolumeName = corev1.VolumeBound, corev1.ClaimBound, v.Name
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, annBindCompleted, "yes")
		b.SetObject(v)
		b.SetObject(c)
	}
	st.snapshot = b.Snapshot()
}
