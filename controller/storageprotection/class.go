package storageprotection

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

const classIndex = "volumeattributesclass"

func addClasses(g *controller.Group, cfg Config) error {
	claims, err := controller.ViewOf[*corev1.PersistentVolumeClaim](g)
	if err != nil {
		return err
	}
	volumes, err := controller.ViewOf[*corev1.PersistentVolume](g)
	if err != nil {
		return err
	}
	claims.Index(classIndex, classesOfClaim)
	volumes.Index(classIndex, classesOfVolume)
	const name = "volumeattributesclass-protection"
	c := g.ClientFor(name + "-controller")
	inUse := func(ctx context.Context, class *storagev1.VolumeAttributesClass) (use, error) {
		used, err := usedBy(ctx, volumes.ByIndex(classIndex, class.Name), client.For[*corev1.PersistentVolume](c), "",
			func(v *corev1.PersistentVolume) bool { return slices.Contains(classesOfVolume(v), class.Name) })
		if used != none || err != nil {
			return used, err
		}
		return usedBy(ctx, claims.ByIndex(classIndex, class.Name), client.For[*corev1.PersistentVolumeClaim](c), "",
			func(c *corev1.PersistentVolumeClaim) bool { return slices.Contains(classesOfClaim(c), class.Name) })
	}
	return add(g, cfg, name, guard[*storagev1.VolumeAttributesClass]{finalizer: ClassFinalizer, inUse: inUse},
		leaves(classesOfClaim), leaves(classesOfVolume))
}

// leaves is the source of changes after which an object may name a class no more.
func leaves[T client.Object](classes func(T) []string) controller.Source {
	return controller.On[T]{
		Where: func(before, after T) bool {
			return gone(before, after) || !missing(before) && !slices.Equal(classes(before), classes(after))
		},
		Keys: func(obj T) []controller.Key {
			var keys []controller.Key
			for _, name := range classes(obj) {
				keys = append(keys, controller.Key{Name: name})
			}
			return keys
		},
	}
}

// classesOfClaim returns the classes that a claim asks for, has, and is on its way to.
func classesOfClaim(c *corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, name := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if name != nil && *name != "" {
			names = append(names, *name)
		}
	}
	if m := c.Status.ModifyVolumeStatus; m != nil && m.TargetVolumeAttributesClassName != "" {
		names = append(names, m.TargetVolumeAttributesClassName)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func classesOfVolume(v *corev1.PersistentVolume) []string {
	if name := v.Spec.VolumeAttributesClassName; name != nil && *name != "" {
		return []string{*name}
	}
	return nil
}
