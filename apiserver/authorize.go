package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/inboard/inboard/apiserver/client"
)

// GroupMasters may do everything.
const GroupMasters = "system:masters"

// Attributes tell an Authorizer what a request wants to do. They are shared: read them only.
type Attributes struct {
	User *Identity
	// Verb is a verb of the API, or for a request that is not for a resource the HTTP method in
	// lower case.
	Verb                                                         string
	Namespace, APIGroup, APIVersion, Resource, Subresource, Name string
	// Path is set for requests that are not for a resource, such as "/healthz".
	Path string
	// FieldSelector and LabelSelector are what a list, watch or deletecollection is limited to; none is all
	// objects, as is a selector that can't be read.
	FieldSelector fields.Requirements
	LabelSelector labels.Requirements
}

// Authorizer decides what an identity may do.
type Authorizer interface {
	// Authorize tells whether a request is allowed, and why or why not; reason may be empty. An error
	// means that it can't be told, and refuses.
	Authorize(ctx context.Context, a *Attributes) (allowed bool, reason string, err error)
}

// AuthorizerFunc makes a function an Authorizer.
type AuthorizerFunc func(ctx context.Context, a *Attributes) (allowed bool, reason string, err error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(ctx context.Context, a *Attributes) (bool, string, error) {
	return f(ctx, a)
}

// Policy is an Authorizer whose rules are objects of the server's own, as those of package rbac are.
type Policy interface {
	Authorizer
	// Admit is asked about each write after Config.Admission, to refuse what would give away rights that
	// its sender has not.
	Admit(ctx context.Context, r *AdmissionRequest) error
	// Bootstrap makes the objects that every cluster has; Server.Run calls it. c may do everything.
	Bootstrap(ctx context.Context, c client.Interface) error
}

// RuleLister is an Authorizer that can list what a user may do in a namespace and in the cluster, for
// SelfSubjectRulesReview. An error tells that the list is not complete.
type RuleLister interface {
	RulesFor(ctx context.Context, user *Identity, namespace string) (authorizationv1.SubjectRulesReviewStatus, error)
}

// authorize asks the authorizer about a request for a resource.
func (s *Server) authorize(ctx context.Context, rq *request) error {
	if slices.Contains(rq.user.Groups, GroupMasters) {
		return nil
	}
	a := &Attributes{
		User: rq.user, Verb: rq.verb, Namespace: rq.ref.Namespace,
		APIGroup: rq.ref.Group, APIVersion: rq.ref.Version, Resource: rq.ref.Resource,
		Subresource: rq.ref.Subresource, Name: rq.ref.Name,
	}
	rq.only.limit(a)
	allowed, reason, err := s.cfg.Authorizer.Authorize(ctx, a)
	if allowed && err == nil {
		return nil
	}
	if err != nil {
		reason = err.Error()
	}
	return apierrors.NewForbidden(rq.ref.GroupResource(), a.Name, errors.New(refusal(a, reason)))
}

// selectors are those of a request's options.
type selectors struct{ fields, labels string }

func selectorsOf(opts *metav1.ListOptions) selectors {
	return selectors{opts.FieldSelector, opts.LabelSelector}
}

// limit tells an authorizer what a request is limited to. One for the object of a certain name has that name, as in
// Kubernetes.
func (l selectors) limit(a *Attributes) {
	if l.fields != "" {
		if sel, err := fields.ParseSelector(l.fields); err == nil {
			a.FieldSelector = sel.Requirements()
			name, ok := sel.RequiresExactMatch("metadata.name")
			if ok && a.Name == "" && len(content.IsPathSegmentName(name)) == 0 {
				a.Name = name
			}
		}
	}
	if l.labels != "" {
		if sel, err := labels.Parse(l.labels); err == nil {
			a.LabelSelector, _ = sel.Requirements()
		}
	}
}

// refusal says what the user may not do, as kube-apiserver words it.
func refusal(a *Attributes, reason string) string {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	msg := fmt.Sprintf("User %q cannot %s resource %q in API group %q", a.User.User, a.Verb, resource, a.APIGroup)
	if a.Namespace != "" {
		msg += fmt.Sprintf(" in the namespace %q", a.Namespace)
	} else {
		msg += " at the cluster scope"
	}
	if reason != "" {
		msg += ": " + reason
	}
	return msg
}
