// Package storageversionmigrator carries out StorageVersionMigrations: it writes each object of a resource anew, so that
// it is stored as it would be today, in another version or encoding
// (https://kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/). Of the migrations of one
// resource one runs at a time. For a custom resource it then notes in the CustomResourceDefinition that no object is
// stored in another version any more.
package storageversionmigrator

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// Config describes the controller.
type Config struct {
	// Client is needed by New only; Add uses the group's.
	Client client.Interface
	// Resources tells what can be migrated; nil is the built-in kinds.
	Resources controller.Resources
	// Logger nil discards, or with Add is the group's.
	Logger *slog.Logger
}

// manager is the controller's field manager, as in Kubernetes.
const manager = "storage-version-migrator-controller"

// patience is how long a resource may be unknown before its migration fails: it may have been defined a moment ago.
const patience = time.Minute

// New returns the controller with views of its own.
func New(cfg Config) (*controller.Group, error) {
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("storageversionmigrator: %w", err)
	}
	return g, Add(g, cfg)
}

// Add adds the controller to a group.
func Add(g *controller.Group, cfg Config) error {
	_, err := add(g, cfg)
	return err
}

func add(g *controller.Group, cfg Config) (*reconciler, error) {
	if cfg.Resources == nil {
		cfg.Resources = controller.Known(controller.Builtin()...)
	}
	r := &reconciler{client: g.ClientFor("storage-version-migrator-controller"), resources: cfg.Resources, now: time.Now}
	r.typed = client.For[*migration](r.client)
	var err error
	if r.migrations, err = controller.ViewOf[*migration](g); err != nil {
		return nil, fmt.Errorf("storageversionmigrator: %w", err)
	}
	_, err = g.Add(controller.Config{
		Name: "storage-version-migrator", Reconciler: r, Logger: cfg.Logger,
		// The end of one lets the next one of the same resource begin.
		Sources: []controller.Source{controller.On[*migration]{Keys: r.rivals}},
	})
	return r, err
}

type migration = storagemigrationv1.StorageVersionMigration

type reconciler struct {
	client     client.Interface
	typed      client.Typed[*migration]
	resources  controller.Resources
	migrations *controller.View[*migration]
	now        func() time.Time
}

// rivals returns the migrations of the same resource, the one itself among them.
func (r *reconciler) rivals(m *migration) []controller.Key {
	var keys []controller.Key
	for _, other := range r.migrations.List("") {
		if other.Spec.Resource == m.Spec.Resource {
			keys = append(keys, controller.KeyOf(other))
		}
	}
	return keys
}

func is(m *migration, t storagemigrationv1.MigrationConditionType) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, string(t))
}

func isOver(m *migration) bool {
	return is(m, storagemigrationv1.MigrationSucceeded) || is(m, storagemigrationv1.MigrationFailed)
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	stored, ok := r.migrations.Get("", key.Name)
	if !ok {
		return controller.Result{}, nil
	}
	m := stored.DeepCopy()
	running := is(m, storagemigrationv1.MigrationRunning)
	switch {
	case running && isOver(m):
		return controller.Result{}, r.finish(ctx, m)
	case isOver(m) || !running && !r.mayBegin(m):
		return controller.Result{}, nil
	}
	return controller.Result{}, r.advance(ctx, m, running)
}

// mayBegin tells whether no other migration of the resource runs or is older.
func (r *reconciler) mayBegin(m *migration) bool {
	for _, other := range r.migrations.List("") {
		switch {
		case other.Name == m.Name || other.Spec.Resource != m.Spec.Resource:
		case is(other, storagemigrationv1.MigrationRunning):
			return false
		case !isOver(other) && older(other, m):
			return false
		}
	}
	return true
}

func older(a, b *migration) bool {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name)) < 0
}

// advance begins a migration, or carries it out.
func (r *reconciler) advance(ctx context.Context, m *migration, running bool) error {
	resource, err := r.find(ctx, m)
	if err != nil || resource == nil {
		return err
	}
	if running && m.Status.ResourceVersion != "" {
		return r.migrate(ctx, m, *resource)
	}
	list, err := r.client.List(ctx, client.Ref{GroupVersionResource: resource.GroupVersionResource}, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("error getting latest resourceVersion for %s: %w", resource.GroupVersionResource, err)
	}
	if err := r.markDefinition(ctx, m); err != nil {
		return err
	}
	if m.Status.ResourceVersion == "" {
		m.Status.ResourceVersion = list.ResourceVersion
	}
	set(m, storagemigrationv1.MigrationRunning, metav1.ConditionTrue, "MigrationRunning", progress(0, 0, nil))
	return r.update(ctx, m)
}

// find returns the resource to migrate. Without it, it is looked for again, or the migration has failed; nil then.
func (r *reconciler) find(ctx context.Context, m *migration) (*controller.Resource, error) {
	all, failed := r.resources(ctx)
	for i := range all {
		if gr := all[i].GroupResource(); gr.Group == m.Spec.Resource.Group && gr.Resource == m.Spec.Resource.Resource {
			return &all[i], nil
		}
	}
	if failed != nil {
		return nil, failed
	}
	if m.CreationTimestamp.Add(patience).After(r.now()) {
		return nil, fmt.Errorf("the resource %s is not known yet", m.Spec.Resource.String())
	}
	return nil, r.fail(ctx, m, "resource does not exist in discovery")
}

func (r *reconciler) fail(ctx context.Context, m *migration, text string) error {
	set(m, storagemigrationv1.MigrationFailed, metav1.ConditionTrue, "StorageVersionMigrationFailed", text)
	return r.update(ctx, m)
}

// finish tells that a migration that is over does not run any more.
func (r *reconciler) finish(ctx context.Context, m *migration) error {
	if err := r.releaseDefinition(ctx, m); err != nil {
		return err
	}
	set(m, storagemigrationv1.MigrationRunning, metav1.ConditionFalse, "MigrationCompleted", "Migration completed")
	return r.update(ctx, m)
}

func set(m *migration, t storagemigrationv1.MigrationConditionType, status metav1.ConditionStatus, reason, text string) {
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: string(t), Status: status, Reason: reason, Message: text})
}

func (r *reconciler) update(ctx context.Context, m *migration) error {
	_, err := r.typed.UpdateStatus(ctx, m)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
