package core

import (
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// newerEvent is the version of Events in events.k8s.io/v1, which asks for more than core/v1.
func newerEvent() apiserver.Version {
	return apiserver.Version{
		GroupVersionKind: eventsv1.SchemeGroupVersion.WithKind("Event"),
		Object:           &eventsv1.Event{},
		List:             &eventsv1.EventList{},
		ToStorage: func(in, out client.Object) error {
			eventFromNewer(in.(*eventsv1.Event), out.(*corev1.Event))
			return nil
		},
		FromStorage: func(in, out client.Object) error {
			eventToNewer(in.(*corev1.Event), out.(*eventsv1.Event))
			return nil
		},
		Validate: row.Check(validateNewerEvent),
		Fields: map[string]string{
			"reason": "reason", "type": "type", "reportingController": "reportingComponent",
			"regarding.kind": "involvedObject.kind", "regarding.namespace": "involvedObject.namespace",
			"regarding.name": "involvedObject.name", "regarding.uid": "involvedObject.uid",
			"regarding.apiVersion": "involvedObject.apiVersion", "regarding.resourceVersion": "involvedObject.resourceVersion",
			"regarding.fieldPath": "involvedObject.fieldPath",
		},
	}
}

func eventFromNewer(in *eventsv1.Event, out *corev1.Event) {
	out.ObjectMeta, out.InvolvedObject, out.Related, out.Source = in.ObjectMeta, in.Regarding, in.Related, in.DeprecatedSource
	out.Reason, out.Message, out.Type, out.Action = in.Reason, in.Note, in.Type, in.Action
	out.FirstTimestamp, out.LastTimestamp, out.Count = in.DeprecatedFirstTimestamp, in.DeprecatedLastTimestamp, in.DeprecatedCount
	out.EventTime, out.ReportingController, out.ReportingInstance = in.EventTime, in.ReportingController, in.ReportingInstance
	if s := in.Series; s != nil {
		out.Series = &corev1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
}

func eventToNewer(in *corev1.Event, out *eventsv1.Event) {
	out.ObjectMeta, out.Regarding, out.Related, out.DeprecatedSource = in.ObjectMeta, in.InvolvedObject, in.Related, in.Source
	out.Reason, out.Note, out.Type, out.Action = in.Reason, in.Message, in.Type, in.Action
	out.DeprecatedFirstTimestamp, out.DeprecatedLastTimestamp, out.DeprecatedCount = in.FirstTimestamp, in.LastTimestamp, in.Count
	out.EventTime, out.ReportingController, out.ReportingInstance = in.EventTime, in.ReportingController, in.ReportingInstance
	if s := in.Series; s != nil {
		out.Series = &eventsv1.EventSeries{Count: s.Count, LastObservedTime: s.LastObservedTime}
	}
}

func validateNewerEvent(o, old *corev1.Event) field.ErrorList {
	l := check.List(eventErrors(o, "reportingController"))
	if old != nil {
		unchangedEvent(&l, o, old)
		return l.Errors()
	}
	eventSeries(&l, o.Series)
	if o.EventTime.IsZero() {
		l.Required(field.NewPath("eventTime"), "")
	}
	if o.Type != corev1.EventTypeNormal && o.Type != corev1.EventTypeWarning {
		l.Invalid(field.NewPath("type"), "", "has invalid value: "+o.Type)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !o.FirstTimestamp.IsZero()}, {"lastTimestamp", !o.LastTimestamp.IsZero()},
		{"count", o.Count != 0}, {"source", o.Source != (corev1.EventSource{})},
	} {
		if f.set {
			l.Invalid(field.NewPath(f.name), "", "needs to be unset")
		}
	}
	return l.Errors()
}

// unchangedEvent asks that nothing but the series is new.
func unchangedEvent(l *check.List, o, old *corev1.Event) {
	if !reflect.DeepEqual(o.Series, old.Series) {
		eventSeries(l, o.Series)
	}
	for _, f := range []struct {
		name     string
		now, was any
	}{
		{"involvedObject", o.InvolvedObject, old.InvolvedObject}, {"reason", o.Reason, old.Reason}, {"message", o.Message, old.Message},
		{"source", o.Source, old.Source}, {"firstTimestamp", o.FirstTimestamp, old.FirstTimestamp},
		{"lastTimestamp", o.LastTimestamp, old.LastTimestamp}, {"count", o.Count, old.Count}, {"reason", o.Reason, old.Reason},
		{"type", o.Type, old.Type}, {"action", o.Action, old.Action}, {"related", o.Related, old.Related},
		{"reportingController", o.ReportingController, old.ReportingController},
		{"reportingInstance", o.ReportingInstance, old.ReportingInstance},
	} {
		l.Add(validation.ValidateImmutableField(f.now, f.was, field.NewPath(f.name))...)
	}
	// Clients may send times less precisely than they read them.
	if !o.EventTime.Truncate(time.Microsecond).Equal(old.EventTime.Truncate(time.Microsecond)) {
		l.Add(validation.ValidateImmutableField(o.EventTime, old.EventTime, field.NewPath("eventTime"))...)
	}
}

func eventSeries(l *check.List, s *corev1.EventSeries) {
	if s == nil {
		return
	}
	if s.Count < 2 {
		l.Invalid(field.NewPath("series.count"), "", "should be at least 2")
	}
	if s.LastObservedTime == (metav1.MicroTime{}) {
		l.Required(field.NewPath("series.lastObservedTime"), "")
	}
}
