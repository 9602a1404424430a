package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// validateEvent checks an event. One with an eventTime is of the newer kind, which asks for more.
func validateEvent(o, _ *corev1.Event) field.ErrorList { return eventErrors(o, "reportingComponent") }

// eventErrors calls the controller by the name that the request's version has for it.
func eventErrors(o *corev1.Event, controller string) field.ErrorList {
	var l check.List
	involved, path := o.InvolvedObject.Namespace, field.NewPath("involvedObject", "namespace")
	const elsewhere = "does not match event.namespace"
	if o.EventTime.IsZero() {
		inDefault := involved == "" && (o.Namespace == metav1.NamespaceNone || o.Namespace == metav1.NamespaceDefault)
		if involved != o.Namespace && !inDefault {
			l.Invalid(path, involved, elsewhere)
		}
		return l.Errors()
	}
	if involved == "" && o.Namespace != metav1.NamespaceDefault && o.Namespace != metav1.NamespaceSystem {
		l.Invalid(path, involved, elsewhere)
	}
	if o.ReportingController == "" {
		l.Required(field.NewPath(controller), "")
	}
	l.QualifiedName(field.NewPath(controller), o.ReportingController)
	for _, f := range []struct {
		name, value string
		limit       int
	}{{"reportingInstance", o.ReportingInstance, 128}, {"action", o.Action, 128}, {"reason", o.Reason, 128}} {
		if f.value == "" {
			l.Required(field.NewPath(f.name), "")
		}
		atMost(&l, f.name, f.value, f.limit)
	}
	atMost(&l, "message", o.Message, 1024)
	return l.Errors()
}

func atMost(l *check.List, name, value string, limit int) {
	if len(value) > limit {
		l.Invalid(field.NewPath(name), "", fmt.Sprintf("can have at most %v characters", limit))
	}
}
