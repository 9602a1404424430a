package apiserver

import (
	"encoding/json"
	"maps"
	"reflect"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/inboard/inboard/apiserver/client"
)

// partial returns what PartialObjectMetadata shows of an object.
func (f *format) partial(r *resource, obj client.Object) *metav1.PartialObjectMetadata {
	p := &metav1.PartialObjectMetadata{}
	p.SetGroupVersionKind(f.metaVersion().WithKind("PartialObjectMetadata"))
	p.Name, p.Namespace, p.GenerateName, p.UID = obj.GetName(), obj.GetNamespace(), obj.GetGenerateName(), obj.GetUID()
	p.ResourceVersion, p.Generation = obj.GetResourceVersion(), obj.GetGeneration()
	p.CreationTimestamp, p.DeletionTimestamp = obj.GetCreationTimestamp(), obj.GetDeletionTimestamp()
	p.DeletionGracePeriodSeconds = obj.GetDeletionGracePeriodSeconds()
	p.Labels, p.Annotations, p.OwnerReferences = obj.GetLabels(), obj.GetAnnotations(), obj.GetOwnerReferences()
	p.Finalizers, p.ManagedFields = obj.GetFinalizers(), obj.GetManagedFields()
	for _, name := range r.DerivedAnnotations {
		if _, ok := p.Annotations[name]; ok {
			p.Annotations = maps.Clone(p.Annotations)
			delete(p.Annotations, name)
		}
	}
	return p
}

// defaultColumns are those of kinds without columns of their own.
var defaultColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
	{Name: "Created At", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
}

// scaleColumns are those of what a scale subresource answers with.
var scaleColumns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
	{Name: "Desired", Type: "integer", Description: autoscalingv1.ScaleSpec{}.SwaggerDoc()["replicas"]},
	{Name: "Available", Type: "integer", Description: autoscalingv1.ScaleStatus{}.SwaggerDoc()["replicas"]},
	{Name: "Age", Type: "string", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]},
}

func isScale(obj client.Object) bool {
	_, ok := obj.(*autoscalingv1.Scale)
	return ok
}

// has tells whether an object is of the row's own type, and not what one of its subresources answers with.
func (r *resource) has(obj client.Object) bool {
	typ := reflect.TypeOf(obj)
	return typ == r.typ || r.hub != nil && typ == r.hub.typ
}

// tableOptions tell what a Table's rows carry besides cells.
type tableOptions struct {
	include metav1.IncludeObjectPolicy
	// noHeaders leaves the columns out, as after the first event of a watch.
	noHeaders bool
}

// table returns the Table of some objects.
func (f *format) table(r *resource, meta metav1.ListMeta, objs []client.Object, opts tableOptions, now time.Time) (*metav1.Table, error) {
	t := &metav1.Table{ListMeta: meta, Rows: []metav1.TableRow{}}
	t.SetGroupVersionKind(f.metaVersion().WithKind("Table"))
	if !opts.noHeaders {
		t.ColumnDefinitions = r.Columns
		switch {
		case len(objs) == 1 && isScale(objs[0]):
			t.ColumnDefinitions = scaleColumns
		case r.Row == nil || len(objs) == 1 && !r.has(objs[0]):
			t.ColumnDefinitions = defaultColumns
		}
	}
	if len(objs) == 0 && (r.Row == nil || r.plain()) {
		t.Rows = nil // as Kubernetes leaves it
	}
	for _, obj := range objs {
		row := metav1.TableRow{Cells: r.cells(obj, now)}
		var err error
		switch opts.include {
		case metav1.IncludeNone:
		case metav1.IncludeObject:
			shown := obj
			if r.has(obj) {
				shown, err = r.shown(obj)
			}
			if err == nil {
				row.Object.Raw, err = json.Marshal(shown)
			}
		default:
			row.Object.Raw, err = json.Marshal(f.partial(r, obj))
		}
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// plain tells whether the row's columns are the default ones.
func (r *resource) plain() bool {
	return len(r.Columns) == len(defaultColumns) && r.Columns[1].Name == defaultColumns[1].Name
}

func (r *resource) cells(obj client.Object, now time.Time) []any {
	if r.Row != nil && r.has(obj) {
		return r.Row(obj, now)
	}
	if scale, ok := obj.(*autoscalingv1.Scale); ok {
		age := duration.HumanDuration(now.Sub(scale.CreationTimestamp.Time))
		return []any{scale.Name, int64(scale.Spec.Replicas), int64(scale.Status.Replicas), age}
	}
	return []any{obj.GetName(), obj.GetCreationTimestamp().UTC().Format(time.RFC3339)}
}

func checkInclude(p metav1.IncludeObjectPolicy) error {
	switch p {
	case "", metav1.IncludeMetadata, metav1.IncludeNone, metav1.IncludeObject:
		return nil
	}
	return badRequest("Unable to convert to Table as requested: includeObject: Invalid value: %q: must be 'Metadata', 'Object', 'None', or empty", p)
}

// transform returns a Table or PartialObjectMetadata of an object, as the client asked for.
func (s *Server) transform(f *format, r *resource, obj client.Object, opts tableOptions) (runtime.Object, error) {
	if f.as == "Table" {
		return f.table(r, metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()}, []client.Object{obj}, opts, s.now())
	}
	return f.partial(r, obj), nil
}
