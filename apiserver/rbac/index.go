package rbac

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/rbac"
	"github.com/inboard/inboard/store"
)

// index finds what is granted to whom. Each reader first applies what the store's history has that the index
// has not, so that a grant counts, and its end does, from the moment in which it is stored.
type index struct {
	store apiserver.Store
	kinds []apiserver.Stored
	// key and end are the range in which the objects of all kinds lie.
	key, end string
	// news is set by the store, within its locks, when there is something to apply.
	news *atomic.Bool

	mu       sync.RWMutex
	watcher  *store.Watcher // nil before the first read, and when history was lost
	closed   bool
	roles    map[roleKey]*role
	bindings map[string]*binding // by key in the store
	subjects map[subject]*grants
}

// roleKey names a Role, or without a namespace a ClusterRole.
type roleKey struct{ namespace, name string }

// role holds a role's rules; it is there too while bindings name it and it does not exist.
type role struct {
	roleKey
	exists bool
	rules  []rbacv1.PolicyRule // the stored object's own
	bound  int
}

// notFound is the error of listers in Kubernetes.
func (r *role) notFound() error {
	if r.namespace == "" {
		return apierrors.NewNotFound(rbacv1.Resource("clusterrole"), r.name)
	}
	return apierrors.NewNotFound(rbacv1.Resource("role"), r.name)
}

// subject is a user, which a service account is too, or a group.
type subject struct {
	group bool
	name  string
}

// grants are what a subject was granted in the cluster and in each namespace.
type grants struct {
	cluster    []*grant
	namespaced map[string][]*grant
}

// grant gives one subject of a binding the binding's role.
type grant struct {
	role    *role
	binding *binding
	// reason tells a user that asks why something is allowed.
	reason string
}

// binding is a stored binding as the index holds it.
type binding struct {
	namespace string
	role      *role
	subjects  []subject
}

func newIndex(st apiserver.Store) (*index, error) {
	ix := &index{store: st, news: &atomic.Bool{}}
	for _, k := range rbac.Kinds() {
		s, err := apiserver.StoredAs(k)
		if err != nil {
			return nil, err
		}
		ix.kinds = append(ix.kinds, s)
	}
	root, _, _ := strings.Cut(strings.TrimPrefix(ix.kinds[0].Prefix(), "/"), "/"+rbacv1.GroupName+"/")
	ix.key = "/" + root + "/" + rbacv1.GroupName + "/"
	ix.end = store.PrefixEnd(ix.key)
	ix.reset()
	return ix, nil
}

func (ix *index) reset() {
	ix.roles, ix.bindings, ix.subjects = map[roleKey]*role{}, map[string]*binding{}, map[subject]*grants{}
}

func (ix *index) close() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.closed = true
	if ix.watcher != nil {
		ix.watcher.Close()
		ix.watcher = nil
	}
}

// read brings the index up to date and, without an error, locks it for reading.
func (ix *index) read(ctx context.Context) error {
	for {
		ix.mu.RLock()
		if ix.watcher != nil && !ix.news.Load() {
			return nil
		}
		ix.mu.RUnlock()
		if err := ix.update(ctx); err != nil {
			return fmt.Errorf("rbac: %w", err)
		}
	}
}

// update applies all news.
func (ix *index) update(ctx context.Context) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.closed {
		return errors.New("the authorizer is closed")
	}
	if ix.watcher == nil {
		return ix.load(ctx)
	}
	for ix.news.Swap(false) {
		if ix.follow() != nil {
			// What is missing is not kept any more, or an object can't be read.
			ix.watcher.Close()
			ix.watcher = nil
			return ix.load(ctx)
		}
	}
	return nil
}

// follow applies what the watcher has.
func (ix *index) follow() error {
	for {
		batch, ok, err := ix.watcher.TryNext()
		if err != nil || !ok {
			return err
		}
		for i := range batch.Events {
			if err := ix.apply(&batch.Events[i]); err != nil {
				return err
			}
		}
	}
}

// load reads everything and starts to watch.
func (ix *index) load(ctx context.Context) error {
	res, err := ix.store.Range(ctx, store.Range{Key: ix.key, End: ix.end})
	if err != nil {
		return err
	}
	ix.reset()
	for _, e := range res.Entries {
		if err := ix.put(e); err != nil {
			return err
		}
	}
	news := &atomic.Bool{}
	w, err := ix.store.Watch(store.WatchConfig{Key: ix.key, End: ix.end, Revision: res.Revision + 1, Notify: func() { news.Store(true) }})
	if err != nil {
		return err
	}
	news.Store(true) // for what was stored between the two
	ix.watcher, ix.news = w, news
	return nil
}

func (ix *index) apply(ev *store.Event) error {
	if ev.Type == store.EventDelete {
		ix.remove(ev.Entry.Key)
		return nil
	}
	return ix.put(ev.Entry)
}

func (ix *index) put(e *store.Entry) error {
	for _, k := range ix.kinds {
		if !strings.HasPrefix(e.Key, k.Prefix()) {
			continue
		}
		obj, err := k.Object(e)
		if err != nil {
			return err
		}
		switch o := obj.(type) {
		case *rbacv1.ClusterRole:
			ix.putRole(roleKey{"", o.Name}, o.Rules)
		case *rbacv1.Role:
			ix.putRole(roleKey{o.Namespace, o.Name}, o.Rules)
		case *rbacv1.ClusterRoleBinding:
			ix.bind(e.Key, "", o.Name, o.RoleRef, o.Subjects)
		case *rbacv1.RoleBinding:
			ix.bind(e.Key, o.Namespace, o.Name, o.RoleRef, o.Subjects)
		}
	}
	return nil
}

// remove forgets the object at a key, whose value may not be known any more.
func (ix *index) remove(key string) {
	if ix.unbind(key) {
		return
	}
	for _, k := range ix.kinds {
		rest, ok := strings.CutPrefix(key, k.Prefix())
		if !ok {
			continue
		}
		namespace, name, namespaced := strings.Cut(rest, "/")
		if !namespaced {
			namespace, name = "", rest
		}
		if r := ix.roles[roleKey{namespace, name}]; r != nil {
			r.exists, r.rules = false, nil
			ix.forget(r)
		}
	}
}

func (ix *index) role(key roleKey) *role {
	r := ix.roles[key]
	if r == nil {
		r = &role{roleKey: key}
		ix.roles[key] = r
	}
	return r
}

func (ix *index) putRole(key roleKey, rules []rbacv1.PolicyRule) {
	r := ix.role(key)
	r.exists, r.rules = true, rules
}

// forget drops a role that neither exists nor is named.
func (ix *index) forget(r *role) {
	if !r.exists && r.bound == 0 {
		delete(ix.roles, r.roleKey)
	}
}

// bind notes a new or changed binding.
func (ix *index) bind(key, namespace, name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
	ix.unbind(key)
	b := &binding{namespace: namespace}
	if ref.Kind == "Role" {
		b.role = ix.role(roleKey{namespace, ref.Name})
	} else {
		b.role = ix.role(roleKey{"", ref.Name})
	}
	b.role.bound++
	ix.bindings[key] = b
	for i := range subjects {
		s, ok := subjectOf(&subjects[i], namespace)
		if !ok || slices.Contains(b.subjects, s) {
			continue
		}
		b.subjects = append(b.subjects, s)
		g := ix.subjects[s]
		if g == nil {
			g = &grants{}
			ix.subjects[s] = g
		}
		g.add(&grant{role: b.role, binding: b, reason: reasonOf(namespace, name, ref, &subjects[i])})
	}
}

func (g *grants) add(new *grant) {
	if new.binding.namespace == "" {
		g.cluster = append(g.cluster, new)
		return
	}
	if g.namespaced == nil {
		g.namespaced = map[string][]*grant{}
	}
	g.namespaced[new.binding.namespace] = append(g.namespaced[new.binding.namespace], new)
}

// remove takes a binding's grant away, and tells whether none are left.
func (g *grants) remove(b *binding) (empty bool) {
	of := func(g *grant) bool { return g.binding == b }
	if b.namespace == "" {
		g.cluster = slices.DeleteFunc(g.cluster, of)
	} else if left := slices.DeleteFunc(g.namespaced[b.namespace], of); len(left) > 0 {
		g.namespaced[b.namespace] = left
	} else {
		delete(g.namespaced, b.namespace)
	}
	return len(g.cluster)+len(g.namespaced) == 0
}

func (ix *index) unbind(key string) bool {
	b := ix.bindings[key]
	if b == nil {
		return false
	}
	delete(ix.bindings, key)
	for _, s := range b.subjects {
		if ix.subjects[s].remove(b) {
			delete(ix.subjects, s)
		}
	}
	b.role.bound--
	ix.forget(b.role)
	return true
}

// subjectOf resolves a binding's subject; a service account without a namespace is of the binding's.
func subjectOf(s *rbacv1.Subject, namespace string) (subject, bool) {
	switch s.Kind {
	case rbacv1.UserKind:
		return subject{name: s.Name}, true
	case rbacv1.GroupKind:
		return subject{group: true, name: s.Name}, true
	case rbacv1.ServiceAccountKind:
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return subject{name: "system:serviceaccount:" + namespace + ":" + s.Name}, namespace != ""
	}
	return subject{}, false
}

func reasonOf(namespace, name string, ref rbacv1.RoleRef, s *rbacv1.Subject) string {
	kind, who := "ClusterRoleBinding", s.Name
	if s.Kind == rbacv1.ServiceAccountKind {
		of := s.Namespace
		if of == "" {
			of = namespace
		}
		who += "/" + of
	}
	if namespace != "" {
		kind, name = "RoleBinding", name+"/"+namespace
	}
	return fmt.Sprintf("RBAC: allowed by %s %q of %s %q to %s %q", kind, name, ref.Kind, ref.Name, s.Kind, who)
}

// each visits what was granted to a user in the cluster and in a namespace, until visit returns false.
func (ix *index) each(user *apiserver.Identity, namespace string, visit func(*grant) bool) {
	if !ix.subjects[subject{name: user.User}].each(namespace, visit) {
		return
	}
	for _, g := range user.Groups {
		if !ix.subjects[subject{group: true, name: g}].each(namespace, visit) {
			return
		}
	}
}

func (g *grants) each(namespace string, visit func(*grant) bool) bool {
	if g == nil {
		return true
	}
	for _, grant := range g.cluster {
		if !visit(grant) {
			return false
		}
	}
	if namespace == "" {
		return true
	}
	for _, grant := range g.namespaced[namespace] {
		if !visit(grant) {
			return false
		}
	}
	return true
}

// rulesOf returns the rules of the role that a binding in a namespace names.
func (ix *index) rulesOf(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	key, plural := roleKey{namespace, ref.Name}, "roles"
	if ref.Kind != "Role" {
		key, plural = roleKey{"", ref.Name}, "clusterroles"
	}
	if r := ix.roles[key]; r != nil && r.exists {
		return r.rules, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource(plural), ref.Name)
}
