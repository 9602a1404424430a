package apiserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/store"
)

// listed is the answer to a list: shared objects at one revision.
type listed struct {
	revision  int64
	items     []found
	next      string // the continue token
	remaining *int64
}

func (l *listed) meta() metav1.ListMeta {
	return metav1.ListMeta{ResourceVersion: formatVersion(l.revision), Continue: l.next, RemainingItemCount: l.remaining}
}

// list reads the objects that the options select, decoded.
func (s *Server) list(ctx context.Context, rq *request, opts *metav1.ListOptions) (*listed, error) {
	l, err := s.findList(ctx, rq, opts)
	if err != nil {
		return nil, err
	}
	for i := range l.items {
		if _, err := l.items[i].object(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// findList is list without the decoding, as far as the selectors need none.
func (s *Server) findList(ctx context.Context, rq *request, opts *metav1.ListOptions) (*listed, error) {
	if err := checkListOptions(opts, false); err != nil {
		return nil, err
	}
	sel, err := rq.newSelector(opts)
	if err != nil {
		return nil, err
	}
	revision, start, err := s.listFrom(ctx, sel, opts)
	if err != nil {
		return nil, err
	}
	return s.collect(ctx, sel, revision, start, int(max(opts.Limit, 0)))
}

// listFrom tells at which revision (0 for the newest) and key a list begins.
func (s *Server) listFrom(ctx context.Context, sel *selector, opts *metav1.ListOptions) (int64, string, error) {
	if opts.Continue != "" {
		if opts.ResourceVersion != "" && opts.ResourceVersion != "0" {
			return 0, "", badRequest("specifying resource version is not allowed when using continue")
		}
		return decodeContinue(opts.Continue, sel)
	}
	exact := opts.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
		opts.ResourceVersionMatch == "" && opts.Limit > 0
	if opts.ResourceVersion == "" || opts.ResourceVersion == "0" || !exact {
		return 0, sel.key, s.notOlderThan(ctx, opts.ResourceVersion)
	}
	revision, err := parseVersion(opts.ResourceVersion)
	if err != nil {
		return 0, "", badRequest("invalid resource version: resourceVersion: Invalid value: %q: %v", opts.ResourceVersion, err)
	}
	return revision, sel.key, nil
}

// collect reads from start on until limit objects match.
func (s *Server) collect(ctx context.Context, sel *selector, revision int64, start string, limit int) (*listed, error) {
	if revision == 0 {
		if entries, rev, whole, ok := s.indexed(ctx, sel); ok {
			return sel.collectIndexed(entries, rev, whole, limit)
		}
	}
	out := &listed{items: []found{}}
	continued := start != sel.key
	// How many are left is told of lists that select nothing only, as in Kubernetes.
	rng := store.Range{Key: start, End: sel.end, Revision: revision, SkipCount: !sel.all()}
	for {
		rng.Limit = limit - len(out.items)
		if limit == 0 {
			rng.Limit = 0
		} else if !sel.all() {
			// Selective lists read ahead, so that few matches don't mean many rounds.
			rng.Limit = max(rng.Limit, 512)
		}
		res, err := s.store.Range(ctx, rng)
		if err != nil {
			if continued && errors.Is(err, store.ErrCompacted) {
				return nil, expiredContinue(sel, start)
			}
			return nil, listError(err, revision)
		}
		out.revision = res.Revision
		rng.Revision = res.Revision
		for i, e := range res.Entries {
			f := sel.res.found(e)
			ok, err := sel.selects(&f)
			if err != nil {
				return nil, err
			}
			if ok {
				out.items = append(out.items, f)
			}
			if limit > 0 && len(out.items) == limit && (i+1 < len(res.Entries) || res.More) {
				return out, out.more(sel, e.Key, res.Count-i-1)
			}
		}
		if !res.More {
			return out, nil
		}
		rng.Key = res.Entries[len(res.Entries)-1].Key + "\x00"
	}
}

// more notes that the list goes on after key, with so many keys to come.
func (l *listed) more(sel *selector, key string, left int) error {
	token, err := tokenAt(sel, l.revision, key+"\x00")
	l.next = token
	if sel.all() {
		n := int64(left)
		l.remaining = &n
	}
	return err
}

func listError(err error, revision int64) error {
	if errors.Is(err, store.ErrFutureRevision) {
		return tooLargeVersion(revision, 0)
	}
	return storeError(err, revision)
}

// anyRevision in a continue token means that the list goes on at the newest revision.
const anyRevision = -1

// expiredContinue tells that the snapshot of a list is gone, and brings a token by which the list can go on from the
// same place all the same, over what is there now.
func expiredContinue(sel *selector, start string) error {
	token, err := tokenAt(sel, anyRevision, start)
	if err != nil {
		return err
	}
	expired := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. " +
		"You can start a new list without the continue parameter, or use the continue token in this response to retrieve " +
		"the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that " +
		"were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
	expired.ErrStatus.Continue = token
	return expired
}

// continueToken is the token's content; Kubernetes has the same.
type continueToken struct {
	APIVersion      string `json:"v"`
	ResourceVersion int64  `json:"rv"`
	StartKey        string `json:"start"`
}

const continueVersion = "meta.k8s.io/v1"

// tokenAt returns the token of a list that goes on at key. Like Kubernetes' own, it tells the key below what the list
// is of, with a slash before it.
func tokenAt(sel *selector, revision int64, key string) (string, error) {
	b, err := json.Marshal(continueToken{continueVersion, revision, "/" + strings.TrimPrefix(key, sel.key)})
	return base64.RawURLEncoding.EncodeToString(b), err
}

func decodeContinue(token string, sel *selector) (int64, string, error) {
	var t continueToken
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	invalid := func(format string, args ...any) (int64, string, error) {
		return 0, "", badRequest("invalid continue token: continue key is not valid: "+format, args...)
	}
	switch {
	case err != nil:
		return invalid("%v", err)
	case t.APIVersion != continueVersion:
		return invalid("server does not recognize this encoded version %v", t.APIVersion)
	case t.ResourceVersion == 0:
		return invalid("incorrect encoded start resourceVersion (version %v)", continueVersion)
	case t.StartKey == "":
		return invalid("encoded start key empty (version %v)", continueVersion)
	case sel.end == "":
		return invalid("the list is of one object")
	}
	start := "/" + strings.TrimPrefix(t.StartKey, "/")
	if path.Clean(start) != start {
		return invalid("%s", t.StartKey)
	}
	return max(t.ResourceVersion, 0), sel.key + start[1:], nil
}
