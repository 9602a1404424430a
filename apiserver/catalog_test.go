package apiserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

const aggregatedDiscovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// sensorKind returns a kind of the group GROUP.example.com.
func sensorKind(group string) apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind: schema.GroupVersionKind{Group: group + ".example.com", Version: "v1", Kind: "Sensor"},
		Resource:         "sensors", Object: &Sensor{}, List: &SensorList{},
	}
}

func setKinds(t *testing.T, s *apiserver.Server, source string, kinds ...apiserver.Kind) {
	t.Helper()
	if err := s.SetKinds(source, kinds); err != nil {
		t.Fatal(err)
	}
}

// openapiHashes returns the address of the OpenAPI document of each group and version.
func openapiHashes(t *testing.T, s *apiserver.Server) map[string]string {
	t.Helper()
	var root struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(do(s, "GET", "/openapi/v3", "").Body.Bytes(), &root); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for path, at := range root.Paths {
		out[path] = at.ServerRelativeURL
	}
	return out
}

func TestSetKinds(t *testing.T) {
	s := newServer(t, asAdmin)
	ctx := t.Context()
	etag := func() string { return do(s, "GET", "/apis", "", "Accept", aggregatedDiscovery).Header().Get("ETag") }
	before, docs := etag(), openapiHashes(t, s)
	sensors := func() client.Typed[*Sensor] { return client.For[*Sensor](s.Client(admin)) }
	sensor := &Sensor{ObjectMeta: metav1.ObjectMeta{Namespace: "", Name: "door"}, Spec: SensorSpec{Room: "hall"}}
	if _, err := sensors().Create(ctx, sensor); err == nil {
		t.Fatal("created an object of a kind that is not served")
	}
	home := sensorKind("home")
	setKinds(t, s, "mine", home)
	if _, err := sensors().Create(ctx, sensor); err != nil {
		t.Fatal(err)
	}
	if a := do(s, "GET", "/apis/home.example.com/v1/sensors/door", ""); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `"room":"hall"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := do(s, "GET", "/apis/home.example.com/v1", ""); !strings.Contains(a.Body.String(), `"sensors"`) {
		t.Errorf("discovery: %d %s", a.Code, a.Body)
	}
	if a := do(s, "GET", "/", ""); !strings.Contains(a.Body.String(), "/apis/home.example.com/v1") {
		t.Errorf("paths: %s", a.Body)
	}
	if tag := etag(); tag == before {
		t.Error("the ETag of discovery is the same")
	}
	with := openapiHashes(t, s)
	if with["apis/apps/v1"] != docs["apis/apps/v1"] || with["apis/home.example.com/v1"] == "" || len(with) != len(docs)+1 {
		t.Errorf("OpenAPI documents: %v", with)
	}
	setKinds(t, s, "mine")
	if a := do(s, "GET", "/apis/home.example.com/v1/sensors/door", ""); a.Code != http.StatusNotFound {
		t.Errorf("after removal: %d", a.Code)
	}
	if etag() != before {
		t.Error("the ETag of discovery is not what it was")
	}
	if after := openapiHashes(t, s); after["apis/apps/v1"] != docs["apis/apps/v1"] || len(after) != len(docs) {
		t.Errorf("OpenAPI documents: %v", after)
	}
	// What was stored is there again with the kind.
	setKinds(t, s, "other", home)
	if o, err := sensors().Get(ctx, "", "door"); err != nil || o.Spec.Room != "hall" {
		t.Errorf("%v %v", o, err)
	}
}

func TestSetKindsConflicts(t *testing.T) {
	s := newServer(t, asAdmin)
	setKinds(t, s, "a", sensorKind("home"))
	sameKind := sensorKind("home")
	sameKind.Resource = "detectors"
	pods := sensorKind("home")
	pods.GroupVersionKind, pods.Resource = schema.GroupVersionKind{Version: "v1", Kind: "Probe"}, "pods"
	for name, kinds := range map[string][]apiserver.Kind{
		"a resource of another source": {sensorKind("work"), sensorKind("home")},
		"a kind of another source":     {sameKind},
		"a resource of the config":     {pods},
		"a row without a kind":         {{}},
	} {
		if err := s.SetKinds("b", kinds); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if a := do(s, "GET", "/apis/work.example.com/v1/sensors", ""); a.Code != http.StatusNotFound {
		t.Errorf("a refused change left something: %d", a.Code)
	}
}

// TestSetKindsEndsWatches watches kinds that stay, change and go.
func TestSetKindsEndsWatches(t *testing.T) {
	s := newServer(t, asAdmin)
	stays, changes, goes := sensorKind("stays"), sensorKind("changes"), sensorKind("goes")
	setKinds(t, s, "mine", stays, changes, goes)
	begin := func(group string) watch.Interface {
		ref := client.Ref{GroupVersionResource: schema.GroupVersionResource{Group: group + ".example.com", Version: "v1", Resource: "sensors"}}
		w, err := s.Client(admin).Watch(t.Context(), ref, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
		return w
	}
	staying, changing, going := begin("stays"), begin("changes"), begin("goes")
	overHTTP := make(chan int)
	go func() { overHTTP <- do(s, "GET", "/apis/goes.example.com/v1/sensors?watch=1", "").Code }()
	setKinds(t, s, "mine", sensorKind("changes"), stays)
	for _, w := range []watch.Interface{changing, going} {
		select {
		case ev, open := <-w.ResultChan():
			if open {
				t.Errorf("got %v", ev)
			}
		case <-time.After(time.Minute):
			t.Fatal("a watch did not end")
		}
	}
	select {
	case code := <-overHTTP: // it may have come too late
		if code != http.StatusOK && code != http.StatusNotFound {
			t.Errorf("over HTTP: %d", code)
		}
	case <-time.After(time.Minute):
		t.Fatal("a watch over HTTP did not end")
	}
	if a := do(s, "POST", "/apis/stays.example.com/v1/sensors", `{"metadata":{"name":"door"},"spec":{"room":"hall"}}`); a.Code != http.StatusCreated {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	if ev := <-staying.ResultChan(); ev.Type != watch.Added {
		t.Errorf("the watch that stays got %v", ev)
	}
}

// TestSetKindsWhileServing changes the kinds while others use one that stays.
func TestSetKindsWhileServing(t *testing.T) {
	s := newServer(t, asAdmin)
	home := sensorKind("home")
	setKinds(t, s, "mine", home)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 100 {
			setKinds(t, s, "mine", home, sensorKind("g"+strconv.Itoa(i%3)))
		}
	})
	for w := range 4 {
		wg.Go(func() {
			name := "s" + strconv.Itoa(w)
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				a := do(s, "PUT", "/apis/home.example.com/v1/sensors/"+name, `{"metadata":{"name":"`+name+`"}}`)
				if a.Code != http.StatusNotFound || !strings.Contains(a.Body.String(), `"name":"`+name) {
					t.Errorf("%d %s", a.Code, a.Body)
					return
				}
				do(s, "GET", "/apis", "", "Accept", aggregatedDiscovery)
				do(s, "GET", "/apis/g"+strconv.Itoa(i%3)+".example.com/v1/sensors", "")
			}
		})
	}
	wg.Wait()
}

// source gives a kind from the first time on that it is asked.
type source struct {
	kinds []apiserver.Kind
	err   error
	asked int
}

func (f *source) Refresh(_ context.Context, s *apiserver.Server) error {
	f.asked++
	if f.err != nil {
		return f.err
	}
	return s.SetKinds("source", f.kinds)
}

func TestKindSource(t *testing.T) {
	from := &source{}
	s := newServer(t, asAdmin, func(c *apiserver.Config) { c.Sources = []apiserver.KindSource{from} })
	if a := do(s, "GET", "/api/v1/namespaces/default/pods", ""); a.Code != http.StatusOK || from.asked != 0 {
		t.Errorf("%d, asked %d times about pods", a.Code, from.asked)
	}
	from.kinds = []apiserver.Kind{sensorKind("home")}
	if a := do(s, "GET", "/apis/home.example.com/v1/sensors", ""); a.Code != http.StatusOK {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	from.kinds = nil
	if a := do(s, "GET", "/apis/home.example.com/v1", ""); a.Code != http.StatusNotFound {
		t.Errorf("discovery: %d %s", a.Code, a.Body)
	}
	from.err = apierrors.NewServiceUnavailable("not now")
	if a := do(s, "GET", "/apis/home.example.com/v1/sensors", ""); a.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
