package clientgo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/disk"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/features"
	featurestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
)

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

func deployment(name string) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	none := int32(0)
	d.Spec.Replicas = &none
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	d.Spec.Template.Labels = d.Spec.Selector.MatchLabels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "registry.test/test/web:v1"}}
	return d
}

func TestDynamicClient(t *testing.T) {
	w := start(t)
	c, err := dynamic.NewForConfig(w.cfg)
	must(t, err)
	in := c.Resource(configMaps).Namespace("default")
	f := dynamicinformer.NewDynamicSharedInformerFactory(c, 0)
	inf := f.ForResource(configMaps)
	inf.Informer()
	stop := make(chan struct{})
	f.Start(stop)
	defer f.Shutdown()
	defer close(stop)
	f.WaitForCacheSync(stop)
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"n": "0"}}}
	u, err = in.Create(w.ctx, u, metav1.CreateOptions{})
	must(t, err)
	must(t, unstructured.SetNestedField(u.Object, "1", "data", "n"))
	u, err = in.Update(w.ctx, u, metav1.UpdateOptions{})
	must(t, err)
	_, err = in.Patch(w.ctx, "a", types.MergePatchType, []byte(`{"data":{"m":"2"}}`), metav1.PatchOptions{})
	must(t, err)
	if _, err = in.Update(w.ctx, u, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of what has changed: %v", err)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"n": "3"}}}
	if _, err = in.Apply(w.ctx, "a", applied, metav1.ApplyOptions{FieldManager: "one"}); !apierrors.IsConflict(err) {
		t.Errorf("an apply to a field of another: %v", err)
	}
	u, err = in.Apply(w.ctx, "a", applied, metav1.ApplyOptions{FieldManager: "one", Force: true})
	must(t, err)
	if data, _, _ := unstructured.NestedStringMap(u.Object, "data"); data["n"] != "3" || data["m"] != "2" {
		t.Errorf("after the apply: %v", data)
	}
	eventually(t, func() error {
		o, err := inf.Lister().ByNamespace("default").Get("a")
		if err == nil && o.(*unstructured.Unstructured).GetResourceVersion() != u.GetResourceVersion() {
			err = fmt.Errorf("the informer is behind")
		}
		return err
	})
	must(t, in.DeleteCollection(w.ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=a"}))
	if _, err = in.Get(w.ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the deletion: %v", err)
	}
}

func TestMetadataClient(t *testing.T) {
	w := start(t)
	cs := w.clientset(t)
	create(t, cs, names("m", 3))
	c, err := metadata.NewForConfig(w.cfg)
	must(t, err)
	w.calls.take("")
	l, err := c.Resource(configMaps).Namespace("default").List(w.ctx, metav1.ListOptions{Limit: 2})
	must(t, err)
	if len(l.Items) != 2 || l.Continue == "" || l.Items[1].Name != "m-0" || l.Items[1].UID == "" {
		t.Errorf("list: %+v", l)
	}
	for _, c := range w.calls.take("/configmaps") {
		if !strings.Contains(c.accept, "as=PartialObjectMetadataList") || !strings.Contains(c.got, "protobuf") {
			t.Errorf("asked for %q, got %q", c.accept, c.got)
		}
	}
	f := metadatainformer.NewSharedInformerFactory(c, 0)
	inf := f.ForResource(configMaps)
	inf.Informer()
	stop := make(chan struct{})
	f.Start(stop)
	defer f.Shutdown()
	defer close(stop)
	f.WaitForCacheSync(stop)
	p, err := c.Resource(configMaps).Namespace("default").Patch(w.ctx, "m-1", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
	must(t, err)
	if p.Labels["a"] != "b" {
		t.Errorf("patched: %+v", p)
	}
	eventually(t, func() error {
		o, err := inf.Lister().ByNamespace("default").Get("m-1")
		if err == nil && o.(*metav1.PartialObjectMetadata).Labels["a"] != "b" {
			err = fmt.Errorf("the informer has %v", o)
		}
		return err
	})
	must(t, c.Resource(configMaps).Namespace("default").Delete(w.ctx, "m-1", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}}))
}

func TestDiscovery(t *testing.T) {
	w := start(t)
	d, err := discovery.NewDiscoveryClientForConfig(w.cfg)
	must(t, err)
	groups, resources, failed, err := d.GroupsAndMaybeResources()
	must(t, err)
	if len(failed) > 0 || len(groups.Groups) < 10 || resources[schema.GroupVersion{Version: "v1"}] == nil {
		t.Errorf("aggregated discovery: %d groups, failed: %v", len(groups.Groups), failed)
	}
	if calls := w.calls.take(""); len(calls) != 2 {
		t.Errorf("aggregated discovery took the calls %v", calls)
	}
	d.UseLegacyDiscovery = true
	_, legacy, err := d.ServerGroupsAndResources()
	must(t, err)
	if len(legacy) != len(resources) {
		t.Errorf("%d group versions in legacy discovery, %d in aggregated", len(legacy), len(resources))
	}
	for _, l := range legacy {
		gv, _ := schema.ParseGroupVersion(l.GroupVersion)
		if got, want := fmt.Sprint(resourceNames(resources[gv])), fmt.Sprint(resourceNames(l)); got != want {
			t.Errorf("%s: aggregated %s, legacy %s", l.GroupVersion, got, want)
		}
	}
	cached, err := disk.NewCachedDiscoveryClientForConfig(w.cfg, t.TempDir(), t.TempDir(), time.Hour)
	must(t, err)
	_, _, err = cached.ServerGroupsAndResources()
	must(t, err)
	w.calls.take("")
	cached.Invalidate()
	_, _, err = cached.ServerGroupsAndResources()
	must(t, err)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))
	m, err := mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"})
	must(t, err)
	if m.Resource != deployments || m.Scope.Name() != meta.RESTScopeNameNamespace {
		t.Errorf("mapping: %+v", m)
	}
	if _, err := mapper.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Nothing"}); !meta.IsNoMatchError(err) {
		t.Errorf("the mapping of nothing: %v", err)
	}
	paths, err := d.OpenAPIV3().Paths()
	must(t, err)
	text, err := paths["apis/apps/v1"].Schema("application/json")
	must(t, err)
	if !json.Valid(text) {
		t.Error("the document of apps/v1 is no JSON")
	}
	v2, err := d.OpenAPISchema()
	must(t, err)
	if v2.GetDefinitions() == nil || v2.GetInfo().GetTitle() == "" {
		t.Error("the document of version 2 is empty")
	}
	version, err := d.ServerVersion()
	must(t, err)
	if version.Major != "1" {
		t.Errorf("version: %+v", version)
	}
}

func resourceNames(l *metav1.APIResourceList) map[string]string {
	out := map[string]string{}
	if l != nil {
		for _, r := range l.APIResources {
			if strings.Contains(r.Name, "/") {
				r.SingularName = "" // client-go makes one up of aggregated discovery
			}
			out[r.Name] = fmt.Sprint(r.Kind, r.Namespaced, r.SingularName, r.ShortNames, r.Categories, r.Verbs)
		}
	}
	return out
}

// TestGeneratedApply applies by generated configurations, and takes them out of what is there.
func TestGeneratedApply(t *testing.T) {
	w := start(t)
	c := w.clientset(t).AppsV1().Deployments("default")
	labels := map[string]string{"app": "web"}
	cfg := appsapply.Deployment("web", "default").WithLabels(labels).WithSpec(appsapply.DeploymentSpec().WithReplicas(0).
		WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().WithContainers(
			coreapply.Container().WithName("c").WithImage("registry.test/test/web:v1").WithPorts(coreapply.ContainerPort().WithContainerPort(80))))))
	d, err := c.Apply(w.ctx, cfg, metav1.ApplyOptions{FieldManager: "one"})
	must(t, err)
	again, err := c.Apply(w.ctx, cfg, metav1.ApplyOptions{FieldManager: "one"})
	must(t, err)
	if d.UID != again.UID || d.Generation != again.Generation {
		t.Errorf("applied again: generation %d, was %d", again.Generation, d.Generation)
	}
	mine, err := appsapply.ExtractDeployment(again, "one")
	must(t, err)
	if *mine.Spec.Replicas != 0 || *mine.Spec.Template.Spec.Containers[0].Image != "registry.test/test/web:v1" || mine.Spec.Strategy != nil {
		t.Errorf("extracted: %+v", mine.Spec)
	}
	mine.Spec.Template.Spec.Containers[0].Ports = nil
	d, err = c.Apply(w.ctx, mine, metav1.ApplyOptions{FieldManager: "one"})
	must(t, err)
	if len(d.Spec.Template.Spec.Containers[0].Ports) != 0 {
		t.Errorf("ports: %v", d.Spec.Template.Spec.Containers[0].Ports)
	}
	_, err = c.Apply(w.ctx, appsapply.Deployment("web", "default").WithSpec(appsapply.DeploymentSpec().WithReplicas(3)), metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) {
		t.Errorf("a conflict: %v", err)
	}
	status := appsapply.Deployment("web", "default").WithStatus(appsapply.DeploymentStatus().WithConditions(
		appsapply.DeploymentCondition().WithType("Own").WithStatus(corev1.ConditionTrue)))
	d, err = c.ApplyStatus(w.ctx, status, metav1.ApplyOptions{FieldManager: "status"})
	must(t, err)
	found := false
	for _, cond := range d.Status.Conditions {
		found = found || cond.Type == "Own"
	}
	if !found {
		t.Errorf("conditions: %v", d.Status.Conditions)
	}
}

// TestRetryOnConflict counts from many goroutines; none is lost.
func TestRetryOnConflict(t *testing.T) {
	w := start(t)
	c := w.clientset(t).CoreV1().ConfigMaps("default")
	_, err := c.Create(w.ctx, configMap("counter"), metav1.CreateOptions{})
	must(t, err)
	patient := retry.DefaultBackoff
	patient.Steps = 1000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				err := retry.RetryOnConflict(patient, func() error {
					cm, err := c.Get(w.ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					var n int
					_, _ = fmt.Sscan(cm.Data["n"], &n)
					cm.Data["n"] = fmt.Sprint(n + 1)
					_, err = c.Update(w.ctx, cm, metav1.UpdateOptions{})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cm, err := c.Get(w.ctx, "counter", metav1.GetOptions{})
	must(t, err)
	if cm.Data["n"] != "80" {
		t.Errorf("counted %s of 80", cm.Data["n"])
	}
}

// TestPager reads pages of one moment, whatever is written meanwhile.
func TestPager(t *testing.T) {
	w := start(t)
	cs := w.clientset(t)
	create(t, cs, names("p", 25))
	pages := 0
	p := pager.New(pager.SimplePageFunc(func(opts metav1.ListOptions) (runtime.Object, error) {
		pages++
		if pages == 2 {
			create(t, cs, names("later", 5))
		}
		return cs.CoreV1().ConfigMaps("default").List(w.ctx, opts)
	}))
	p.PageSize = 10
	seen := 0
	must(t, p.EachListItem(w.ctx, metav1.ListOptions{}, func(o runtime.Object) error {
		if strings.HasPrefix(o.(*corev1.ConfigMap).Name, "later") {
			t.Errorf("%s is of later", o.(*corev1.ConfigMap).Name)
		}
		seen++
		return nil
	}))
	if seen != 26 { // with kube-root-ca.crt
		t.Errorf("%d items", seen)
	}
	all, paged, err := p.List(w.ctx, metav1.ListOptions{})
	must(t, err)
	if !paged || meta.LenList(all) != 31 {
		t.Errorf("paged %v, %d items", paged, meta.LenList(all))
	}
}

// TestContentTypes: clients that ask for protobuf, JSON and CBOR get what kube-apiserver gives them.
func TestContentTypes(t *testing.T) {
	w := start(t)
	for _, tc := range []struct {
		name, content, accept, sent, got string
	}{
		{"protobuf", "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"},
		{"json", "application/json", "application/json", "application/json", "application/json"},
		{"default", "", "", "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cs := w.clientset(t, func(c *rest.Config) { c.ContentType, c.AcceptContentTypes = tc.content, tc.accept })
			w.calls.take("")
			c := cs.CoreV1().ConfigMaps("default")
			cm, err := c.Create(w.ctx, configMap("type-"+tc.name), metav1.CreateOptions{})
			must(t, err)
			calls := w.calls.take("/configmaps")
			if len(calls) != 1 || calls[0].sent != tc.sent || calls[0].got != tc.got {
				t.Errorf("calls: %+v", calls)
			}
			events, err := c.Watch(w.ctx, metav1.ListOptions{ResourceVersion: cm.ResourceVersion})
			must(t, err)
			defer events.Stop()
			cm.Data["n"] = "1"
			_, err = c.Update(w.ctx, cm, metav1.UpdateOptions{})
			must(t, err)
			if ev := <-events.ResultChan(); ev.Type != watch.Modified || ev.Object.(*corev1.ConfigMap).Data["n"] != "1" {
				t.Errorf("event: %+v", ev)
			}
			_, err = c.Create(w.ctx, configMap("type-"+tc.name), metav1.CreateOptions{})
			if !apierrors.IsAlreadyExists(err) {
				t.Errorf("created again: %v", err)
			}
		})
	}
}

// TestCBOR: kube-apiserver 1.37 has CBOR behind a gate that is off. A client that prefers it gets along with JSON.
func TestCBOR(t *testing.T) {
	featurestesting.SetFeatureDuringTest(t, features.ClientsAllowCBOR, true)
	featurestesting.SetFeatureDuringTest(t, features.ClientsPreferCBOR, true)
	w := start(t)
	c, err := dynamic.NewForConfig(w.cfg)
	must(t, err)
	in := c.Resource(configMaps).Namespace("default")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}}}
	// The first write may be refused with 415; client-go then goes on with JSON.
	if _, err = in.Create(w.ctx, u, metav1.CreateOptions{}); err != nil && !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("create: %v", err)
	}
	if err != nil {
		_, err = in.Create(w.ctx, u, metav1.CreateOptions{})
		must(t, err)
	}
	l, err := in.List(w.ctx, metav1.ListOptions{})
	must(t, err)
	if len(l.Items) == 0 {
		t.Error("nothing is listed")
	}
	for _, c := range w.calls.take("/configmaps") {
		t.Logf("%s %q -> %d %q", c.method, c.sent, c.code, c.got)
		if c.code < 300 && c.got != "application/json" {
			t.Errorf("%+v", c)
		}
	}
}

func TestScaleClientAndSubresources(t *testing.T) {
	w := start(t)
	cs := w.clientset(t)
	_, err := cs.AppsV1().Deployments("default").Create(w.ctx, deployment("web"), metav1.CreateOptions{})
	must(t, err)
	d := cs.Discovery()
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))
	scales, err := scale.NewForConfig(w.cfg, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(d))
	must(t, err)
	gr := deployments.GroupResource()
	// The deployment controller writes the status meanwhile.
	must(t, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		s, err := scales.Scales("default").Get(w.ctx, gr, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s.Status.Selector != "app=web" {
			t.Errorf("scale: %+v", s)
		}
		s.Spec.Replicas = 1
		_, err = scales.Scales("default").Update(w.ctx, gr, s, metav1.UpdateOptions{})
		return err
	}))
	typed, err := cs.AppsV1().Deployments("default").UpdateScale(w.ctx, "web", &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}, Spec: autoscalingv1.ScaleSpec{Replicas: 0}}, metav1.UpdateOptions{})
	must(t, err)
	if typed.Spec.Replicas != 0 {
		t.Errorf("scaled: %+v", typed)
	}
}

// TestUntil waits as programs of client-go do.
func TestUntil(t *testing.T) {
	w := start(t)
	cs := w.clientset(t)
	lw := cache.NewFilteredListWatchFromClient(cs.CoreV1().RESTClient(), "configmaps", "default", func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=late" })
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	go func() {
		_, err := watchtools.UntilWithSync(ctx, lw, &corev1.ConfigMap{}, nil, func(ev watch.Event) (bool, error) {
			return ev.Object.(*corev1.ConfigMap).Data["n"] == "1", nil
		})
		done <- err
	}()
	cm, err := cs.CoreV1().ConfigMaps("default").Create(w.ctx, configMap("late"), metav1.CreateOptions{})
	must(t, err)
	cm.Data["n"] = "1"
	_, err = cs.CoreV1().ConfigMaps("default").Update(w.ctx, cm, metav1.UpdateOptions{})
	must(t, err)
	must(t, <-done)
}
