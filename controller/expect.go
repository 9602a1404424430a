package controller

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

// expectationPatience is how long a view may trail before what it should show is looked up.
const expectationPatience = time.Second

// Expectations remember what a controller did that its view does not show yet, so that a reconcile
// that runs meanwhile does not do it again: a ReplicaSet must not create its pods twice because the
// first ones have not arrived. They hold names, not counts: what they expect can be looked up.
//
// The controller calls Create with a name of its own choice before it creates, Update before it
// updates and Delete before it deletes; Observe with each change of the view; Drop when the API
// Refused. Safe for concurrent use; the zero value is ready.
type Expectations struct {
	mu    sync.Mutex
	owner map[Key]map[types.NamespacedName]Expectation
	of    map[types.NamespacedName]Key
}

// Expectation is one change that the view does not show yet.
type Expectation struct {
	types.NamespacedName
	// Deleted is the UID of an object that was deleted, Updated the resource version from which
	// one was updated; both are empty for one that was created.
	Deleted types.UID
	Updated string
	// Since is when it was expected.
	Since time.Time
}

// Create expects that an object appears.
func (e *Expectations) Create(owner Key, name types.NamespacedName) {
	e.add(owner, Expectation{NamespacedName: name, Since: time.Now()})
}

// Update expects that an object leaves the given resource version, which the view shows.
func (e *Expectations) Update(owner Key, name types.NamespacedName, resourceVersion string) {
	e.add(owner, Expectation{NamespacedName: name, Updated: resourceVersion, Since: time.Now()})
}

// Delete expects that an object disappears, or shows a deletionTimestamp.
func (e *Expectations) Delete(owner Key, name types.NamespacedName, uid types.UID) {
	e.add(owner, Expectation{NamespacedName: name, Deleted: uid, Since: time.Now()})
}

func (e *Expectations) add(owner Key, x Expectation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owner == nil {
		e.owner, e.of = map[Key]map[types.NamespacedName]Expectation{}, map[types.NamespacedName]Key{}
	}
	if e.owner[owner] == nil {
		e.owner[owner] = map[types.NamespacedName]Expectation{}
	}
	e.owner[owner][x.NamespacedName] = x
	e.of[x.NamespacedName] = owner
}

// Observe tells of a change of the view: before is nil for an object that is new, after for one that
// is gone.
func (e *Expectations) Observe(before, after client.Object) {
	if after == nil {
		e.settle(NameOf(before), func(x Expectation) bool { return x.Deleted == "" || x.Deleted == before.GetUID() })
		return
	}
	e.settle(NameOf(after), func(x Expectation) bool {
		switch {
		case x.Deleted != "":
			return x.Deleted == after.GetUID() && after.GetDeletionTimestamp() != nil
		case x.Updated != "":
			return x.Updated != after.GetResourceVersion()
		}
		return before == nil
	})
}

// NameOf returns an object's namespace and name.
func NameOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// Refused tells that an error leaves no doubt: the API did not make the change. After a timeout or a
// broken connection it may have.
func Refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500
}

// Drop forgets what was expected of a name, because it will not happen.
func (e *Expectations) Drop(name types.NamespacedName) {
	e.settle(name, func(Expectation) bool { return true })
}

func (e *Expectations) settle(name types.NamespacedName, match func(Expectation) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	owner, ok := e.of[name]
	if !ok || !match(e.owner[owner][name]) {
		return
	}
	delete(e.of, name)
	if delete(e.owner[owner], name); len(e.owner[owner]) == 0 {
		delete(e.owner, owner)
	}
}

// Forget forgets all that was expected for an owner, which is gone.
func (e *Expectations) Forget(owner Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.owner[owner] {
		delete(e.of, name)
	}
	delete(e.owner, owner)
}

// Pending returns what the view does not show yet, the oldest first.
func (e *Expectations) Pending(owner Key) []Expectation {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Expectation
	for _, x := range e.owner[owner] {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Expectation) int { return a.Since.Compare(b.Since) })
	return out
}

// Settled tells whether the view shows all that was expected for owner. What it did not show for
// a second is looked up among the objects of the given resource: an answer that got lost on
// its way leaves it open whether the change was made. When it returns false, wait is the time after
// which to ask again; a change of the view may come earlier.
func (e *Expectations) Settled(ctx context.Context, c client.Reader, gvr schema.GroupVersionResource, owner Key) (ok bool, wait time.Duration, err error) {
	for _, x := range e.Pending(owner) {
		if age := time.Since(x.Since); age < expectationPatience {
			return false, expectationPatience - age, nil
		}
		ref := client.Ref{GroupVersionResource: gvr, Namespace: x.Namespace, Name: x.Name}
		obj, err := c.Get(ctx, ref, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, 0, err
		}
		if err == nil && !x.failed(obj) {
			return false, expectationPatience, nil // it will show
		}
		e.Drop(x.NamespacedName)
	}
	return true, 0, nil
}

// failed tells from the object as it is that a deletion or an update never took place.
func (x Expectation) failed(obj any) bool {
	m, ok := obj.(metav1.Object)
	if !ok {
		return false
	}
	return x.Deleted != "" && m.GetUID() == x.Deleted && m.GetDeletionTimestamp() == nil ||
		x.Updated != "" && m.GetResourceVersion() == x.Updated
}
