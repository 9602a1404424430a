package clienttest

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
)

func testCreateGetDelete(t *testing.T, e env) {
	made := e.create(t, e.configMap("a", "k", "v"))
	if made.UID == "" || made.ResourceVersion == "" || made.CreationTimestamp.IsZero() {
		t.Errorf("metadata was not filled in: %+v", made.ObjectMeta)
	}
	got, err := e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	equal(t, "got", text(got), text(made))
	must(t, e.maps.Delete(e.ctx, e.ns, "a", metav1.DeleteOptions{}))
	if _, err = e.maps.Get(e.ctx, e.ns, "a"); !apierrors.IsNotFound(err) {
		t.Errorf("after the deletion: %v", err)
	}
}

func testCopies(t *testing.T, e env) {
	made := e.create(t, e.configMap("a", "k", "v"))
	made.Data["k"] = "mine"
	got, err := e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	equal(t, "value", got.Data["k"], "v")
	got.Data["k"] = "w"
	up, err := e.maps.Update(e.ctx, got)
	must(t, err)
	up.Data["k"] = "mine"
	patched, err := e.maps.Patch(e.ctx, e.ns, "a", types.MergePatchType, []byte(`{"data":{"l":"x"}}`), "")
	must(t, err)
	equal(t, "value", patched.Data["k"], "w")
	patched.Data["k"] = "mine"
	got, err = e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	equal(t, "value", got.Data["k"], "w")
}

func testTypeMeta(t *testing.T, e env) {
	want := metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	w := e.watch(t, metav1.ListOptions{})
	m := e.configMap("a")
	m.TypeMeta = metav1.TypeMeta{}
	made := e.create(t, m)
	equal(t, "created", made.TypeMeta, want)
	got, err := e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	equal(t, "got", got.TypeMeta, want)
	up, err := e.maps.Update(e.ctx, got)
	must(t, err)
	equal(t, "updated", up.TypeMeta, want)
	l, err := e.c.List(e.ctx, e.maps.Ref(e.ns, ""), metav1.ListOptions{})
	must(t, err)
	equal(t, "list", l.TypeMeta, metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"})
	equal(t, "item", l.Items[0].(*corev1.ConfigMap).TypeMeta, want)
	equal(t, "watched", next(t, w).Object.(*corev1.ConfigMap).TypeMeta, want)
}

func testErrors(t *testing.T, e env) {
	e.create(t, e.configMap("a"))
	_, err := e.maps.Create(e.ctx, e.configMap("a"))
	status(t, err, metav1.StatusReasonAlreadyExists, 409, `configmaps "a" already exists`)
	_, err = e.maps.Get(e.ctx, e.ns, "nil")
	status(t, err, metav1.StatusReasonNotFound, 404, `configmaps "nil" not found`)
	_, err = e.maps.Update(e.ctx, e.configMap("nil"))
	status(t, err, metav1.StatusReasonNotFound, 404, `configmaps "nil" not found`)
	_, err = e.maps.Patch(e.ctx, e.ns, "nil", types.MergePatchType, []byte(`{}`), "")
	status(t, err, metav1.StatusReasonNotFound, 404, `configmaps "nil" not found`)
	err = e.maps.Delete(e.ctx, e.ns, "nil", metav1.DeleteOptions{})
	status(t, err, metav1.StatusReasonNotFound, 404, `configmaps "nil" not found`)
	_, err = e.maps.Create(e.ctx, e.configMap("Not_A_Name"))
	status(t, err, metav1.StatusReasonInvalid, 422, `ConfigMap "Not_A_Name" is invalid: metadata.name`)
	_, err = e.maps.Create(e.ctx, e.configMap(""))
	status(t, err, metav1.StatusReasonInvalid, 422, `metadata.name: Required value: name or generateName is required`)
	pod := e.pod("p")
	pod.Spec.Containers = nil
	_, err = e.pods.Create(e.ctx, pod)
	status(t, err, metav1.StatusReasonInvalid, 422, `spec.containers: Required value`)
	gone := e.configMap("b")
	gone.Namespace = "no-such-namespace"
	_, err = e.maps.Create(e.ctx, gone)
	status(t, err, metav1.StatusReasonNotFound, 404, `namespaces "no-such-namespace" not found`)
	ref := client.Ref{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "nosuchthings"}}
	_, err = e.c.List(e.ctx, ref, metav1.ListOptions{})
	status(t, err, metav1.StatusReasonNotFound, 404, `the server could not find the requested resource`)
}

// status checks that err is a StatusError as Kubernetes makes it.
func status(t *testing.T, err error, reason metav1.StatusReason, code int32, message string) {
	t.Helper()
	se, ok := err.(apierrors.APIStatus)
	if !ok {
		t.Errorf("%T is no APIStatus: %v", err, err)
		return
	}
	s := se.Status()
	if s.Reason != reason || s.Code != code || !strings.Contains(s.Message, message) {
		t.Errorf("got %s %d %q, want %s %d %q", s.Reason, s.Code, s.Message, reason, code, message)
	}
}

func testGenerateName(t *testing.T, e env) {
	names := map[string]bool{}
	for range 20 {
		m := e.configMap("")
		m.GenerateName = "made-"
		name := e.create(t, m).Name
		if !strings.HasPrefix(name, "made-") || len(name) != len("made-")+5 || names[name] {
			t.Errorf("generated name %q", name)
		}
		names[name] = true
	}
}

func testUpdateConflicts(t *testing.T, e env) {
	first := e.create(t, e.configMap("a", "k", "1"))
	second := first.DeepCopy()
	second.Data["k"] = "2"
	second, err := e.maps.Update(e.ctx, second)
	must(t, err)
	if second.ResourceVersion == first.ResourceVersion {
		t.Error("an update kept the resource version")
	}
	_, err = e.maps.Update(e.ctx, first)
	status(t, err, metav1.StatusReasonConflict, 409, `the object has been modified; please apply your changes to the latest version and try again`)
	same, err := e.maps.Update(e.ctx, second)
	must(t, err)
	equal(t, "version after an update that changes nothing", same.ResourceVersion, second.ResourceVersion)
	free := e.configMap("a", "k", "3") // without a version the last writer wins
	_, err = e.maps.Update(e.ctx, free)
	must(t, err)
}

func testConcurrentUpdates(t *testing.T, e env) {
	e.create(t, e.configMap("a", "n", "0"))
	const writers, rounds = 8, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < rounds; {
				m, err := e.maps.Get(e.ctx, e.ns, "a")
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(m.Data["n"])
				m.Data["n"] = strconv.Itoa(n + 1)
				if _, err = e.maps.Update(e.ctx, m); err == nil {
					done++
				} else if !apierrors.IsConflict(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	m, err := e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	equal(t, "count", m.Data["n"], strconv.Itoa(writers*rounds))
}

func testPatch(t *testing.T, e env) {
	e.create(t, e.configMap("a", "k", "1", "l", "2"))
	m, err := e.maps.Patch(e.ctx, e.ns, "a", types.MergePatchType, []byte(`{"data":{"k":null,"m":"3"}}`), "")
	must(t, err)
	equal(t, "merged", text(m.DeepCopy())[0:1]+m.Data["l"]+m.Data["m"], "{23")
	m, err = e.maps.Patch(e.ctx, e.ns, "a", types.JSONPatchType,
		[]byte(`[{"op":"test","path":"/data/l","value":"2"},{"op":"replace","path":"/data/l","value":"4"}]`), "")
	must(t, err)
	equal(t, "patched", m.Data["l"], "4")
	e.createPod(t, "p")
	p, err := e.pods.Patch(e.ctx, e.ns, "p", types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"c","image":"other.invalid/x"}],"tolerations":[{"key":"a","operator":"Exists"}]}}`), "")
	must(t, err)
	equal(t, "containers", len(p.Spec.Containers), 1)
	equal(t, "image", p.Spec.Containers[0].Image, "other.invalid/x")
}

func testPatchErrors(t *testing.T, e env) {
	e.create(t, e.configMap("a", "k", "1"))
	_, err := e.maps.Patch(e.ctx, e.ns, "a", types.MergePatchType, []byte(`{"data":`), "")
	if !apierrors.IsBadRequest(err) {
		t.Errorf("broken JSON: %v", err)
	}
	_, err = e.maps.Patch(e.ctx, e.ns, "a", types.JSONPatchType, []byte(`[{"op":"test","path":"/data/k","value":"2"}]`), "")
	if !apierrors.IsInvalid(err) {
		t.Errorf("failed test: %v", err)
	}
	_, err = e.maps.Patch(e.ctx, e.ns, "a", types.MergePatchType, []byte(`{"metadata":{"resourceVersion":"1"}}`), "")
	if !apierrors.IsConflict(err) {
		t.Errorf("stale version in a patch: %v", err)
	}
	_, err = e.maps.Patch(e.ctx, e.ns, "a", types.PatchType("application/no-patch"), []byte(`{}`), "")
	if !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("unknown patch type: %v", err)
	}
}

func testDryRun(t *testing.T, e env) {
	all := []string{metav1.DryRunAll}
	obj, err := e.c.Create(e.ctx, e.maps.Ref(e.ns, ""), e.configMap("a"), metav1.CreateOptions{DryRun: all})
	must(t, err)
	equal(t, "name", obj.(*corev1.ConfigMap).Name, "a")
	if _, err = e.maps.Get(e.ctx, e.ns, "a"); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run stored the object: %v", err)
	}
	made := e.create(t, e.configMap("a", "k", "1"))
	must(t, e.maps.Delete(e.ctx, e.ns, "a", metav1.DeleteOptions{DryRun: all}))
	made.Data["k"] = "2"
	_, err = e.c.Update(e.ctx, e.maps.Ref(e.ns, "a"), made, metav1.UpdateOptions{DryRun: all})
	must(t, err)
	got, err := e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	equal(t, "value", got.Data["k"], "1")
}

func testPreconditions(t *testing.T, e env) {
	made := e.create(t, e.configMap("a"))
	other := types.UID("00000000-0000-0000-0000-000000000000")
	err := e.maps.Delete(e.ctx, e.ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	status(t, err, metav1.StatusReasonConflict, 409, `Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (`+string(other)+`) does not match the UID in record (`+string(made.UID)+`). The object might have been deleted and then recreated`)
	old := "1"
	err = e.maps.Delete(e.ctx, e.ns, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old}})
	status(t, err, metav1.StatusReasonConflict, 409, `Operation cannot be fulfilled on ConfigMap "a": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (`+made.ResourceVersion+`). The object might have been modified`)
	must(t, e.maps.Delete(e.ctx, e.ns, "a", metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &made.UID, ResourceVersion: &made.ResourceVersion}}))
}

func testFinalizers(t *testing.T, e env) {
	m := e.configMap("a")
	m.Finalizers = []string{"example.com/hold"}
	made := e.create(t, m)
	must(t, e.maps.Delete(e.ctx, e.ns, "a", metav1.DeleteOptions{}))
	held, err := e.maps.Get(e.ctx, e.ns, "a")
	must(t, err)
	if held.DeletionTimestamp == nil || held.UID != made.UID {
		t.Fatalf("not marked as being deleted: %+v", held.ObjectMeta)
	}
	held.Finalizers = append(held.Finalizers, "example.com/late")
	_, err = e.maps.Update(e.ctx, held)
	status(t, err, metav1.StatusReasonInvalid, 422, "no new finalizers can be added if the object is being deleted")
	held.Finalizers = nil
	_, err = e.maps.Update(e.ctx, held)
	must(t, err)
	if _, err = e.maps.Get(e.ctx, e.ns, "a"); !apierrors.IsNotFound(err) {
		t.Errorf("still there without finalizers: %v", err)
	}
}

func testStatusAndSpec(t *testing.T, e env) {
	p := e.pod("p")
	p.Status.Message = "from the client"
	made, err := e.pods.Create(e.ctx, p)
	must(t, err)
	equal(t, "message after create", made.Status.Message, "")
	made.Status.Message, made.Spec.Containers[0].Image = "status", "other.invalid/x"
	up, err := e.pods.UpdateStatus(e.ctx, made)
	must(t, err)
	equal(t, "message", up.Status.Message, "status")
	equal(t, "image after a write to status", up.Spec.Containers[0].Image, "none.invalid/none")
	up.Status.Message, up.Spec.Containers[0].Image = "spec", "other.invalid/x"
	up, err = e.pods.Update(e.ctx, up)
	must(t, err)
	equal(t, "message after a write to spec", up.Status.Message, "status")
	equal(t, "image", up.Spec.Containers[0].Image, "other.invalid/x")
}

func testBinding(t *testing.T, e env) {
	p := e.createPod(t, "p")
	ref := e.pods.Ref(e.ns, "p")
	ref.Subresource = "binding"
	b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "p", UID: p.UID},
		Target: corev1.ObjectReference{Kind: "Node", Name: "some-node"}}
	out, err := e.c.Create(e.ctx, ref, b, metav1.CreateOptions{})
	must(t, err)
	if s, ok := out.(*metav1.Status); !ok || s.Status != metav1.StatusSuccess {
		t.Errorf("binding answered with %T %v", out, out)
	}
	p, err = e.pods.Get(e.ctx, e.ns, "p")
	must(t, err)
	equal(t, "node", p.Spec.NodeName, "some-node")
	_, err = e.c.Create(e.ctx, ref, b, metav1.CreateOptions{})
	status(t, err, metav1.StatusReasonConflict, 409, `pod p is already assigned to node "some-node"`)
	must(t, e.pods.Delete(e.ctx, e.ns, "p", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
}

func testEviction(t *testing.T, e env) {
	e.createPod(t, "p")
	ref := e.pods.Ref(e.ns, "p")
	ref.Subresource = "eviction"
	ev := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "p"}}
	out, err := e.c.Create(e.ctx, ref, ev, metav1.CreateOptions{})
	must(t, err)
	if s, ok := out.(*metav1.Status); !ok || s.Status != metav1.StatusSuccess {
		t.Errorf("eviction answered with %T %v", out, out)
	}
	if _, err = e.pods.Get(e.ctx, e.ns, "p"); !apierrors.IsNotFound(err) {
		t.Errorf("an evicted pod on no node is still there: %v", err)
	}
}
