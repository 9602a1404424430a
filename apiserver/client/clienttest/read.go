package clienttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/inboard/inboard/apiserver/client"
)

// names lists the config maps of the namespace that opts select, but for Kubernetes' own.
func (e env) names(t *testing.T, opts metav1.ListOptions) string {
	t.Helper()
	l, err := e.maps.List(e.ctx, e.ns, opts)
	must(t, err)
	var out []string
	for _, m := range l.Items {
		if m.Name != rootCA {
			out = append(out, m.Name)
		}
	}
	return strings.Join(out, " ")
}

func testListSelectors(t *testing.T, e env) {
	for _, s := range []string{"a tier=web", "b tier=db", "c tier=web,old="} {
		name, set, _ := strings.Cut(s, " ")
		m := e.configMap(name)
		m.Labels = map[string]string{}
		for _, kv := range strings.Split(set, ",") {
			k, v, _ := strings.Cut(kv, "=")
			m.Labels[k] = v
		}
		e.create(t, m)
	}
	equal(t, "all, in order", e.names(t, metav1.ListOptions{}), "a b c")
	equal(t, "by label", e.names(t, metav1.ListOptions{LabelSelector: "tier=web"}), "a c")
	equal(t, "by two", e.names(t, metav1.ListOptions{LabelSelector: "tier in (web),!old"}), "a")
	equal(t, "by name", e.names(t, metav1.ListOptions{FieldSelector: "metadata.name=b"}), "b")
	equal(t, "by not name", e.names(t, metav1.ListOptions{FieldSelector: "metadata.name!=b", LabelSelector: "tier"}), "a c")
	for _, opts := range []metav1.ListOptions{{LabelSelector: "a in ("}, {FieldSelector: "spec.nosuchfield=x"}} {
		if _, err := e.maps.List(e.ctx, e.ns, opts); !apierrors.IsBadRequest(err) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
	e.createPod(t, "p")
	for selector, want := range map[string]int{"spec.nodeName=": 1, "spec.nodeName=n": 0, "status.phase=Pending": 1} {
		pods, err := e.pods.List(e.ctx, e.ns, metav1.ListOptions{FieldSelector: selector})
		must(t, err)
		equal(t, selector, len(pods.Items), want)
	}
}

func testListPages(t *testing.T, e env) {
	for i := range 7 {
		m := e.configMap(fmt.Sprintf("m%d", i))
		m.Labels = map[string]string{"page": "yes"}
		e.create(t, m)
	}
	opts := metav1.ListOptions{LabelSelector: "page", Limit: 3}
	var got, versions []string
	for page := 0; ; page++ {
		l, err := e.maps.List(e.ctx, e.ns, opts)
		must(t, err)
		versions = append(versions, l.ResourceVersion)
		for _, m := range l.Items {
			got = append(got, m.Name)
		}
		if page == 0 { // what happens between pages does not show: one snapshot
			must(t, e.maps.Delete(e.ctx, e.ns, "m5", metav1.DeleteOptions{}))
			late := e.configMap("m55")
			late.Labels = map[string]string{"page": "yes"}
			e.create(t, late)
		}
		if opts.Continue = l.Continue; opts.Continue == "" {
			break
		}
	}
	equal(t, "names", strings.Join(got, " "), "m0 m1 m2 m3 m4 m5 m6")
	equal(t, "versions", len(slices.Compact(versions)), 1)
	if _, err := e.maps.List(e.ctx, e.ns, metav1.ListOptions{Limit: 3, Continue: "nonsense"}); !apierrors.IsBadRequest(err) {
		t.Errorf("a broken continue token: %v", err)
	}
}

func testResourceVersions(t *testing.T, e env) {
	first := e.create(t, e.configMap("a"))
	second := e.create(t, e.configMap("b"))
	for _, opts := range []metav1.ListOptions{
		{ResourceVersion: ""},
		{ResourceVersion: second.ResourceVersion},
		{ResourceVersion: second.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan},
	} {
		equal(t, fmt.Sprintf("at %q", opts.ResourceVersion), e.names(t, opts), "a b")
	}
	exact := metav1.ListOptions{ResourceVersion: first.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
	equal(t, "exactly at the first", e.names(t, exact), "a")
	if _, err := e.maps.List(e.ctx, e.ns, metav1.ListOptions{ResourceVersion: "0"}); err != nil {
		t.Errorf("at 0: %v", err)
	}
	if _, err := e.maps.List(e.ctx, e.ns, metav1.ListOptions{ResourceVersion: "x"}); !apierrors.IsBadRequest(err) && !apierrors.IsInvalid(err) {
		t.Errorf("at x: %v", err)
	}
	n, err := strconv.ParseUint(second.ResourceVersion, 10, 63)
	must(t, err)
	future := strconv.FormatUint(n+1_000_000, 10)
	_, err = e.maps.List(e.ctx, e.ns, metav1.ListOptions{ResourceVersion: future})
	status(t, err, metav1.StatusReasonTimeout, 504, "Too large resource version")
	ref := e.maps.Ref(e.ns, "a")
	_, err = e.c.Get(e.ctx, ref, metav1.GetOptions{ResourceVersion: future})
	status(t, err, metav1.StatusReasonTimeout, 504, "Too large resource version")
	_, err = e.c.Get(e.ctx, ref, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Errorf("get at 0: %v", err)
	}
}

func testCancelled(t *testing.T, e env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.maps.List(ctx, e.ns, metav1.ListOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
	if _, err := e.maps.Get(ctx, e.ns, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := e.maps.Watch(ctx, e.ns, metav1.ListOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("watch: %v", err)
	}
	if _, err := e.maps.Create(ctx, e.configMap("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
}

func testResourceFor(t *testing.T, e env) {
	gvr, err := e.c.ResourceFor(&corev1.ConfigMap{})
	must(t, err)
	equal(t, "resource", gvr.String(), "/v1, Resource=configmaps")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet"}}
	gvr, err = e.c.ResourceFor(u)
	must(t, err)
	equal(t, "resource", gvr.String(), "apps/v1, Resource=replicasets")
	u.SetKind("NoSuchKind")
	if _, err = e.c.ResourceFor(u); !meta.IsNoMatchError(err) {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := client.For[*unstructured.Unstructured](e.c).Get(e.ctx, e.ns, "a"); !meta.IsNoMatchError(err) {
		t.Errorf("facade for no kind: %v", err)
	}
}
