package crd_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/crd"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var admin = apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// server is a server with defined kinds over a store.
type server struct {
	*apiserver.Server
	defs *crd.Definitions
}

func newServer(t testing.TB, st *store.Store, change ...func(*crd.Config)) server {
	t.Helper()
	return newServerOf(t, st, kinds.All(), change...)
}

// newServerOf returns a server that has kinds of its own besides definitions.
func newServerOf(t testing.TB, st *store.Store, own []apiserver.Kind, change ...func(*crd.Config)) server {
	t.Helper()
	cfg := crd.Config{Store: st}
	for _, f := range change {
		f(&cfg)
	}
	defs, err := crd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = defs.Close() })
	api, err := apiserver.New(apiserver.Config{
		Store: st, Kinds: append(own, defs.Kinds()...), Sources: []apiserver.KindSource{defs}, Admission: defs.Admission(),
		Authentication: apiserver.AuthenticationConfig{
			Custom: func(*http.Request) (apiserver.Identity, bool, error) { return admin, true, nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return server{api, defs}
}

// run runs the controllers of definitions until the test ends.
func (s server) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.defs.Run(ctx, s.Client(admin)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// start returns a server whose controllers run.
func start(t testing.TB, change ...func(*crd.Config)) server {
	t.Helper()
	s := newServer(t, openStore(t), change...)
	s.run(t)
	return s
}

func (s server) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	var rq *http.Request
	if body == "" {
		rq = httptest.NewRequest(method, path, nil)
	} else {
		rq = httptest.NewRequest(method, path, strings.NewReader(body))
	}
	for i := 0; i < len(headers); i += 2 {
		rq.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, rq)
	return w
}

// must does a request that is to succeed.
func (s server) must(t testing.TB, method, path, body string, headers ...string) string {
	t.Helper()
	a := s.do(method, path, body, headers...)
	if a.Code > 299 {
		t.Fatalf("%s %s: %d %s", method, path, a.Code, a.Body)
	}
	return a.Body.String()
}

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// define makes a definition and waits until it is established.
func (s server) define(t testing.TB, definition string) {
	t.Helper()
	a := s.do("POST", definitionsPath, definition, "Content-Type", "application/yaml")
	if a.Code != http.StatusCreated {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	_, name, _ := strings.Cut(definition, "name: ")
	name, _, _ = strings.Cut(name, "\n")
	s.await(t, strings.TrimSpace(name), isServed)
}

func isServed(d *apiextensionsv1.CustomResourceDefinition) bool {
	return d != nil && apihelpers.IsCRDConditionTrue(d, apiextensionsv1.Established)
}

// await waits until a definition, nil when it is not there, is as wanted.
func (s server) await(t testing.TB, name string, wanted func(*apiextensionsv1.CustomResourceDefinition) bool) {
	t.Helper()
	definitions := client.For[*apiextensionsv1.CustomResourceDefinition](s.Client(admin))
	w, err := definitions.Watch(t.Context(), "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	deadline := time.After(time.Minute)
	for {
		d, err := definitions.Get(t.Context(), "", name)
		if err != nil {
			d = nil
		}
		if wanted(d) {
			return
		}
		select {
		case <-w.ResultChan():
		case <-deadline:
			t.Fatalf("the definition %s is not as wanted: %+v", name, d)
		}
	}
}
