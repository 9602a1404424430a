package storageversionmigrator

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
)

// The CustomResourceDefinition of a custom resource tells of its migration. Only what is used here is read of it: the
// kind's own types are a library that no controller needs.
type definition struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
		Generation      int64  `json:"generation"`
	} `json:"metadata"`
	Spec struct {
		Versions []struct {
			Name    string `json:"name"`
			Storage bool   `json:"storage"`
		} `json:"versions"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type               string `json:"type"`
			ObservedGeneration int64  `json:"observedGeneration"`
		} `json:"conditions"`
	} `json:"status"`
}

var definitionsResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

const migrating = "StorageMigrating"

// fieldManager is who tells of migrations in definitions, as in Kubernetes.
const fieldManager = "migration-runner-controller"

func definitionRef(m *migration) client.Ref {
	return client.Ref{GroupVersionResource: definitionsResource, Name: m.Spec.Resource.Resource + "." + m.Spec.Resource.Group}
}

// definitionOf returns the definition of a migration's resource, nil for one that is not a custom resource.
func (r *reconciler) definitionOf(ctx context.Context, m *migration) (*definition, error) {
	if m.Spec.Resource.Group == "" {
		return nil, nil
	}
	obj, err := r.client.Get(ctx, definitionRef(m), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	d := &definition{}
	return d, json.Unmarshal(raw, d)
}

// markDefinition tells that a migration of the resource runs.
func (r *reconciler) markDefinition(ctx context.Context, m *migration) error {
	d, err := r.definitionOf(ctx, m)
	if err != nil || d == nil {
		return err
	}
	return r.tell(ctx, m, d, metav1.ConditionTrue, "MigrationRunning", fmt.Sprintf("Migration %s is running", m.Name), "")
}

// releaseDefinition tells that the migration is over. Unless the definition changed meanwhile, all objects are now
// stored in one version.
func (r *reconciler) releaseDefinition(ctx context.Context, m *migration) error {
	d, err := r.definitionOf(ctx, m)
	if err != nil || d == nil {
		return err
	}
	stored := ""
	for _, c := range d.Status.Conditions {
		if c.Type == migrating && c.ObservedGeneration == d.Metadata.Generation {
			stored = d.storage()
		}
	}
	reason, text := "MigrationFailed", "The migration has failed"
	switch {
	case !is(m, storagemigrationv1.MigrationSucceeded):
		stored = ""
	case stored != "":
		reason, text = "MigrationSucceeded", "The migration has succeeded and the stored versions have been updated"
	default:
		reason, text = "MigrationSucceeded", "The migration has succeeded but the stored versions have not been updated due to a generation mismatch"
	}
	return r.tell(ctx, m, d, metav1.ConditionFalse, reason, text, stored)
}

func (d *definition) storage() string {
	for _, v := range d.Spec.Versions {
		if v.Storage {
			return v.Name
		}
	}
	return ""
}

func (r *reconciler) tell(ctx context.Context, m *migration, d *definition, status metav1.ConditionStatus, reason, text, stored string) error {
	told := map[string]any{"conditions": []any{map[string]any{
		"type": migrating, "status": status, "reason": reason, "message": text,
		"lastTransitionTime": r.now().UTC().Format(time.RFC3339), "observedGeneration": d.Metadata.Generation,
	}}}
	if stored != "" {
		told["storedVersions"] = []string{stored}
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": definitionsResource.GroupVersion().String(), "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": d.Metadata.Name, "resourceVersion": d.Metadata.ResourceVersion}, "status": told,
	})
	if err != nil {
		return err
	}
	ref := definitionRef(m)
	ref.Subresource = "status"
	_, err = r.client.Patch(ctx, ref, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager, Force: ptr.To(true)})
	return err
}
