// Package clientgo runs the parts of client-go that programs are made of against the API server.
package clientgo

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/internal/clients/cluster"
)

// world is a cluster of an API server and controllers, and what clients said to it.
type world struct {
	*cluster.Cluster
	ctx   context.Context
	cfg   *rest.Config
	calls *recorder
}

var programs = sync.OnceValues(func() (*cluster.Programs, error) { return cluster.Open() })

func TestMain(m *testing.M) {
	code := m.Run()
	if p, err := programs(); err == nil {
		p.Close()
	}
	os.Exit(code)
}

func start(t *testing.T, args ...string) *world {
	t.Helper()
	p, err := programs()
	must(t, err)
	c, err := p.Start(t.TempDir(), append([]string{"-components", "apiserver,controllers"}, args...)...)
	must(t, err)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	must(t, err)
	cfg.QPS = -1
	w := &world{Cluster: c, ctx: t.Context(), cfg: cfg, calls: &recorder{}}
	cfg.Wrap(w.calls.wrap)
	return w
}

func (w *world) clientset(t *testing.T, change ...func(*rest.Config)) kubernetes.Interface {
	t.Helper()
	cfg := rest.CopyConfig(w.cfg)
	for _, f := range change {
		f(cfg)
	}
	c, err := kubernetes.NewForConfig(cfg)
	must(t, err)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, try func() error) {
	t.Helper()
	must(t, cluster.Eventually(try))
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": "0"}}
}

// call is a request, and what kind of answer came.
type call struct {
	method, path, query, accept, sent, got string
	code                                   int
}

// recorder keeps all calls.
type recorder struct {
	mu    sync.Mutex
	calls []call
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (rec *recorder) wrap(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := rt.RoundTrip(r)
		if err == nil {
			rec.mu.Lock()
			rec.calls = append(rec.calls, call{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Accept"), r.Header.Get("Content-Type"),
				res.Header.Get("Content-Type"), res.StatusCode})
			rec.mu.Unlock()
		}
		return res, err
	})
}

// take returns the calls since the last time whose path ends so.
func (rec *recorder) take(suffix string) []call {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var out []call
	for _, c := range rec.calls {
		if strings.HasSuffix(c.path, suffix) {
			out = append(out, c)
		}
	}
	rec.calls = nil
	return out
}
