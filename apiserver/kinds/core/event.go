package core

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Event returns the row of Event.
func Event() apiserver.Kind {
	k := newKind("Event", "events", "event", "ev")
	k.UpdateCreates = true
	k.NoDependents = true
	k.Object, k.List = &corev1.Event{}, &corev1.EventList{}
	k.Versions = []apiserver.Version{newerEvent()}
	k.Validate, k.MetadataLast = row.Check(validateEvent), true
	k.Fields = row.Fields(eventFields())
	k.Columns = row.Columns("Last Seen", "Type", "Reason", "Object", "Subobject::wide", "Source::wide", "Message",
		"First Seen::wide", "Count::wide", "Name::wide")
	k.Row = row.Cells(eventRow)
	return k
}

func eventFields() map[string]func(*corev1.Event) string {
	return map[string]func(*corev1.Event) string{
		"involvedObject.kind":            func(o *corev1.Event) string { return o.InvolvedObject.Kind },
		"involvedObject.namespace":       func(o *corev1.Event) string { return o.InvolvedObject.Namespace },
		"involvedObject.name":            func(o *corev1.Event) string { return o.InvolvedObject.Name },
		"involvedObject.uid":             func(o *corev1.Event) string { return string(o.InvolvedObject.UID) },
		"involvedObject.apiVersion":      func(o *corev1.Event) string { return o.InvolvedObject.APIVersion },
		"involvedObject.resourceVersion": func(o *corev1.Event) string { return o.InvolvedObject.ResourceVersion },
		"involvedObject.fieldPath":       func(o *corev1.Event) string { return o.InvolvedObject.FieldPath },
		"reason":                         func(o *corev1.Event) string { return o.Reason },
		"type":                           func(o *corev1.Event) string { return o.Type },
		"reportingComponent":             func(o *corev1.Event) string { return o.ReportingController },
		"source":                         func(o *corev1.Event) string { return row.Or(o.Source.Component, o.ReportingController) },
	}
}

func eventRow(o *corev1.Event, now time.Time) []any {
	first := row.Age(o.FirstTimestamp, now)
	if o.FirstTimestamp.IsZero() {
		first = row.MicroAge(o.EventTime, now)
	}
	last := row.Age(o.LastTimestamp, now)
	if o.LastTimestamp.IsZero() {
		last = first
	}
	count := o.Count
	if o.Series != nil {
		last, count = row.MicroAge(o.Series.LastObservedTime, now), o.Series.Count
	} else if count == 0 {
		count = 1 // an event of the newer API that did not repeat has no count
	}
	object := strings.ToLower(o.InvolvedObject.Kind)
	if o.InvolvedObject.Name != "" {
		object += "/" + o.InvolvedObject.Name
	}
	return []any{last, o.Type, o.Reason, object, o.InvolvedObject.FieldPath, eventSource(o), strings.TrimSpace(o.Message),
		first, int64(count), o.Name}
}

func eventSource(o *corev1.Event) string {
	component := row.Or(o.Source.Component, o.ReportingController)
	if host := row.Or(o.Source.Host, o.ReportingInstance); host != "" {
		return component + ", " + host
	}
	return component
}
