package apiserver

import (
	"cmp"
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// Identity is who makes a request.
type Identity struct {
	User   string
	Groups []string
	UID    string
	Extra  map[string][]string
}

// Verbs of requests for resources, as authorizers and a row's Verbs name them.
const (
	verbGet              = "get"
	verbList             = "list"
	verbWatch            = "watch"
	verbCreate           = "create"
	verbUpdate           = "update"
	verbPatch            = "patch"
	verbDelete           = "delete"
	verbDeleteCollection = "deletecollection"
)

var allVerbs = []string{verbCreate, verbDelete, verbDeleteCollection, verbGet, verbList, verbPatch, verbUpdate, verbWatch}

// verbs returns what may be done with a resource.
func (r *resource) verbs() []string {
	if r.Verbs == nil {
		return allVerbs
	}
	return r.Verbs
}

func (r *resource) serves(verb string) bool {
	return r.Verbs == nil || slices.Contains(r.Verbs, verb)
}

// request is one request on its way through the pipeline, wherever it came from.
type request struct {
	server *Server
	user   *Identity
	verb   string
	ref    client.Ref
	// only are the selectors of a list, watch or deletecollection, for its authorization.
	only selectors
	// res is the resource in its stored version, as the version that the request is in; see served.
	res, as *resource
	// dryRun stops short of storing anything.
	dryRun bool
	// options are those that the client sent: a *metav1.CreateOptions and so on, nil when the server asks itself.
	options any
	// collection tells that the client did not name the object.
	collection bool
	// admitted tells that admission has had its say about the request already, under another name.
	admitted bool
	// agent is the field manager of a client that names none, manager the request's own.
	agent, manager string
	// applied tells that the object's managed fields are settled, as an apply leaves them.
	applied bool
	// onDelete adds to the transaction of a deletion: it may change obj, and refuse.
	onDelete func(ctx context.Context, obj client.Object) (settled, error)
	// batch, when not nil, is what the request's transaction is added to, in place of being run.
	batch *batch
	// warn receives warnings for the client; it is never nil.
	warn func(text string)
	// heard tells that a client may see warnings.
	heard bool
}

func noWarnings(string) {}

// begin finds the resource of a request and asks whether the user may do what it asks.
func (s *Server) begin(ctx context.Context, user *Identity, verb string, ref client.Ref) (*request, error) {
	return s.beginWith(ctx, user, verb, ref, selectors{})
}

// beginWith begins a request that selectors limit.
func (s *Server) beginWith(ctx context.Context, user *Identity, verb string, ref client.Ref, only selectors) (*request, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rq := &request{server: s, user: user, verb: verb, ref: ref, only: only, warn: noWarnings, agent: userName(user)}
	return rq, rq.begin(ctx, s)
}

// begin is Server.begin for a request that the caller made.
func (rq *request) begin(ctx context.Context, s *Server) error {
	// What may not be seen is not told apart from what does not exist.
	if err := s.authorize(ctx, rq); err != nil {
		return err
	}
	as := s.catalog.Load().table.served[rq.ref.GroupVersionResource]
	if (as == nil || as.gone != nil) && len(s.cfg.Sources) > 0 {
		now, err := s.refreshed(ctx)
		if err != nil {
			return err
		}
		as = now.table.served[rq.ref.GroupVersionResource]
	}
	if as == nil {
		return notFoundPath()
	}
	rq.res, rq.as = as.storage(), as
	if !rq.res.Namespaced && rq.ref.Namespace != "" {
		return notFoundPath()
	}
	if rq.ref.Subresource == "" && !rq.res.serves(rq.verb) {
		return apierrors.NewMethodNotSupported(rq.named(), rq.verb)
	}
	return nil
}

// one checks that the request names one object.
func (rq *request) one() error {
	if rq.ref.Name == "" {
		return badRequest("the request to %s %s names no object", rq.verb, rq.named())
	}
	if rq.res.Namespaced && rq.ref.Namespace == "" {
		return badRequest("an empty namespace may not be set when a resource name is provided")
	}
	if wrong := content.IsPathSegmentName(rq.ref.Name); len(wrong) > 0 {
		return badRequest("Name parameter invalid: %q: %s", rq.ref.Name, strings.Join(wrong, ";"))
	}
	return nil
}

// key returns the key of the object that the request names.
func (rq *request) key() string { return rq.res.key(rq.ref.Namespace, rq.ref.Name) }

// createOptions, updateOptions and patchOptions check the options of a write, and read dryRun
// and the field manager.
func (rq *request) createOptions(opts *metav1.CreateOptions) error {
	rq.manager = cmp.Or(opts.FieldManager, rq.agent)
	rq.dryRun, rq.options = len(opts.DryRun) > 0, opts
	return invalidOptions("CreateOptions", metavalidation.ValidateCreateOptions(opts))
}

func (rq *request) updateOptions(opts *metav1.UpdateOptions) error {
	rq.manager = cmp.Or(opts.FieldManager, rq.agent)
	rq.dryRun, rq.options = len(opts.DryRun) > 0, opts
	return invalidOptions("UpdateOptions", metavalidation.ValidateUpdateOptions(opts))
}

func (rq *request) patchOptions(opts *metav1.PatchOptions, pt types.PatchType) error {
	rq.manager = cmp.Or(opts.FieldManager, rq.agent)
	rq.dryRun, rq.options = len(opts.DryRun) > 0, opts
	return invalidOptions("PatchOptions", metavalidation.ValidatePatchOptions(opts, pt))
}

func (rq *request) deleteOptions(opts *metav1.DeleteOptions) error {
	rq.dryRun = len(opts.DryRun) > 0
	if !rq.collection {
		rq.options = opts
	}
	if err := invalidOptions("DeleteOptions", metavalidation.ValidateDeleteOptions(opts)); err != nil {
		return err
	}
	if opts.PropagationPolicy == nil && orphanDependents(opts) == nil {
		rq.warn(rq.res.OrphanWarning)
	}
	return nil
}
