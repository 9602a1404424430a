package metrics

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/metrics"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/internal/compare/known"
	"github.com/inboard/inboard/internal/compare/kube"
)

// step is a request that both servers get.
type step struct{ method, path, contentType, body string }

const (
	configMaps = "/api/v1/namespaces/metered/configmaps"
	object     = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`
	deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
)

// steps are requests of every verb and scope, good and bad.
var steps = []step{
	{"POST", "/api/v1/namespaces", "application/json", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"metered"}}`},
	{"POST", configMaps, "application/json", object},
	{"POST", configMaps, "application/json", object},
	{"POST", configMaps, "application/json", `{`},
	{"POST", configMaps + "?dryRun=All", "application/json", strings.Replace(object, `"a"`, `"b"`, 1)},
	{"GET", configMaps + "/a", "", ""},
	{"GET", configMaps + "/none", "", ""},
	{"GET", configMaps, "", ""},
	{"GET", configMaps + "?fieldSelector=metadata.name%3Da", "", ""},
	{"GET", "/api/v1/configmaps", "", ""},
	{"GET", configMaps + "?watch=true&timeoutSeconds=1", "", ""},
	{"GET", "/api/v1/watch/namespaces/metered/configmaps?timeoutSeconds=1", "", ""},
	{"PUT", configMaps + "/a", "application/json", object},
	{"PATCH", configMaps + "/a", "application/merge-patch+json", `{"data":{"a":"b"}}`},
	{"PATCH", configMaps + "/a?fieldManager=m&force=true", "application/apply-patch+yaml", object},
	{"POST", "/apis/apps/v1/namespaces/metered/deployments", "application/json", deployment},
	{"GET", "/apis/apps/v1/namespaces/metered/deployments/a/scale", "", ""},
	{"PATCH", "/apis/apps/v1/namespaces/metered/deployments/a/status", "application/merge-patch+json", `{"status":{"replicas":1}}`},
	{"GET", "/api/v1/namespaces/metered/endpoints", "", ""},
	{"GET", "/api/v1/nodes", "", ""},
	{"GET", "/api/v1/nodes/none/proxy/", "", ""},
	{"GET", "/api/v1/namespaces/metered/pods/none/log", "", ""},
	{"DELETE", configMaps + "/a", "", ""},
	{"DELETE", configMaps, "", ""},
	{"GET", "/livez", "", ""},
	{"GET", "/healthz", "", ""},
	{"GET", "/version", "", ""},
	{"GET", "/api", "", ""},
	{"GET", "/apis", "", ""},
	{"GET", "/apis/apps/v1", "", ""},
	{"GET", "/openapi/v2", "", ""},
	{"GET", "/metrics", "", ""},
	{"GET", "/nowhere", "", ""},
	{"GET", "/apis/nowhere/v1/things", "", ""},
}

// ours serves a server with metrics on loopback.
func ours(t *testing.T) *rest.Config {
	m, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := apitest.Open(t, func(c *apiserver.Config) {
		c.Metrics = m
		c.Authentication.Tokens = map[string]apiserver.Identity{"compare": {User: "admin", Groups: []string{apiserver.GroupMasters}}}
	})
	m.Observe(s.API)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: s.API.Handler()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = web.Close()
		<-done
	})
	return &rest.Config{Host: "http://" + ln.Addr().String(), BearerToken: "compare"}
}

// compared are the families of which each series must be the same, with its count. The rest of kube-apiserver's is
// about what there is not here.
var compared = []string{
	"apiserver_request_total", "apiserver_request_duration_seconds", "apiserver_response_sizes", "apiserver_watch_events_total",
	"apiserver_watch_events_sizes", "apiserver_requested_deprecated_apis", "apiserver_longrunning_requests",
}

// ask sends a request and returns the answer's status and body.
func ask(t *testing.T, cfg *rest.Config, hc *http.Client, s step) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), s.method, cfg.Host+s.path, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "compare")
	if s.contentType != "" {
		r.Header.Set("Content-Type", s.contentType)
	}
	resp, err := hc.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// read returns the series of the families that begin with a prefix.
func read(t *testing.T, cfg *rest.Config, hc *http.Client) map[string]*dto.MetricFamily {
	t.Helper()
	code, body := ask(t, cfg, hc, step{method: "GET", path: "/metrics"})
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, body)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// count returns the value of a counter or gauge, the number of observations of a histogram.
func count(m *dto.Metric) float64 {
	if h := m.GetHistogram(); h != nil {
		return float64(h.GetSampleCount())
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// grown returns by how much the series of a family grew.
func grown(before, after map[string]*dto.MetricFamily, family string) map[string]float64 {
	out := map[string]float64{}
	for _, m := range after[family].GetMetric() {
		out[fmt.Sprint(labels(m), bounds(m))] += count(m)
	}
	for _, m := range before[family].GetMetric() {
		out[fmt.Sprint(labels(m), bounds(m))] -= count(m)
	}
	for k, v := range out {
		if v == 0 {
			delete(out, k)
		}
	}
	return out
}

func labels(m *dto.Metric) (out []string) {
	for _, l := range m.GetLabel() {
		out = append(out, l.GetName()+"="+l.GetValue())
	}
	return out
}

func bounds(m *dto.Metric) (out []float64) {
	for _, b := range m.GetHistogram().GetBucket() {
		out = append(out, b.GetUpperBound())
	}
	return out
}

// measure sends all steps and returns what grew, but for what others ask for meanwhile: kube-apiserver has clients of
// its own.
func measure(t *testing.T, cfg *rest.Config) (map[string]map[string]float64, map[string]*dto.MetricFamily) {
	t.Helper()
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := read(t, cfg, hc)
	for _, s := range steps {
		ask(t, cfg, hc, s)
	}
	after := read(t, cfg, hc)
	out := map[string]map[string]float64{}
	for _, f := range compared {
		out[f] = grown(before, after, f)
	}
	return out, after
}

// TestSameMetrics: after the same requests both servers tell the same of them, by name, type, labels, buckets and
// counts. Differences that are understood are listed in testdata/known.txt.
func TestSameMetrics(t *testing.T) {
	want, theirs := measure(t, kube.Start(t))
	got, own := measure(t, ours(t))
	list := known.Read(t, "testdata/known.txt")
	used := make([]bool, len(list))
	differ := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if i := list.Index(text); i >= 0 {
			used[i] = true
			return
		}
		t.Error(text)
	}
	for _, f := range compared {
		for k, n := range want[f] {
			if !foreign(k) && got[f][k] != n {
				differ("%s%s: %v, kube-apiserver %v", f, k, got[f][k], n)
			}
		}
		for k, n := range got[f] {
			if _, ok := want[f][k]; !ok {
				differ("%s%s: %v, kube-apiserver 0", f, k, n)
			}
		}
	}
	for name, f := range own {
		// The Kubernetes program has the first from its main package, which the one that is built here lacks; the
		// others are Prometheus' own.
		if name == "kubernetes_build_info" || strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		if k := theirs[name]; k == nil {
			differ("%s: kube-apiserver has none", name)
		} else if k.GetType() != f.GetType() {
			differ("%s: a %s, kube-apiserver's is a %s", name, f.GetType(), k.GetType())
		}
	}
	for i, u := range used {
		if !u {
			t.Errorf("the known difference %q is none any more: take it off the list", list[i])
		}
	}
}

// foreign tells of series that kube-apiserver's own clients make grow.
func foreign(series string) bool {
	mine := []string{"resource=configmaps", "resource=deployments", "resource=endpoints ", "resource=nodes", "resource=pods subresource=log", "subresource=/livez"}
	return !slices.ContainsFunc(mine, func(s string) bool { return strings.Contains(series, s) })
}
