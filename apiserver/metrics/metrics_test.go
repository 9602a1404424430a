package metrics_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/metrics"
	"github.com/inboard/inboard/internal/apitest"
)

// asUser makes requests those of the user that a header names.
func asUser(r *http.Request) (apiserver.Identity, bool, error) {
	id := apiserver.Identity{User: r.Header.Get("User")}
	if id.User == "admin" {
		id.Groups = []string{apiserver.GroupMasters}
	}
	return id, id.User != "", nil
}

func open(t testing.TB, cfg metrics.Config, change ...func(*apiserver.Config)) (*apiserver.Server, *metrics.Metrics) {
	t.Helper()
	m, err := metrics.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := apitest.Open(t, append(change, func(c *apiserver.Config) {
		c.Metrics = m
		c.Authentication.Custom = asUser
	})...)
	m.Observe(s.API)
	return s.API, m
}

func do(s http.Handler, user, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("User", user)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// lines returns the lines of /metrics that begin with one of the prefixes.
func lines(t testing.TB, s http.Handler, prefixes ...string) []string {
	t.Helper()
	w := do(s, "admin", "GET", "/metrics", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var out []string
	for sc := bufio.NewScanner(w.Body); sc.Scan(); {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(sc.Text(), p) }) {
			out = append(out, sc.Text())
		}
	}
	return out
}

func TestRequests(t *testing.T) {
	s, _ := open(t, metrics.Config{})
	configMaps := "/api/v1/namespaces/default/configmaps"
	object := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`
	do(s, "admin", "POST", configMaps+"?dryRun=All", object)
	do(s, "admin", "POST", configMaps, object)
	do(s, "admin", "POST", configMaps, object)
	do(s, "admin", "GET", configMaps+"/a", "")
	do(s, "admin", "GET", configMaps, "")
	do(s, "admin", "GET", "/api/v1/configmaps", "")
	do(s, "admin", "PATCH", configMaps+"/a?fieldManager=m&force=true", object, "Content-Type", "application/apply-patch+yaml")
	do(s, "nobody", "DELETE", configMaps+"/a", "")
	do(s, "admin", "DELETE", configMaps, "")
	do(s, "admin", "GET", "/api/v1/namespaces/default/madeups/x", "")
	do(s, "admin", "GET", "/apis/madeup.io/v1/y", "")
	do(s, "admin", "GET", configMaps+"/a/madeup", "")
	do(s, "admin", "GET", "/api/v1/namespaces/default/endpoints", "")
	do(s, "admin", "GET", "/livez", "")
	do(s, "admin", "GET", "/nowhere", "")
	got := lines(t, s, "apiserver_request_total", "apiserver_requested_deprecated_apis")
	want := []string{
		`apiserver_request_total{code="200",component="",dry_run="",group="",resource="",scope="",subresource="/livez",verb="GET",version=""} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="cluster",subresource="",verb="LIST",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="DELETE",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="APPLY",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1"} 1`,
		`apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="endpoints",scope="namespace",subresource="",verb="LIST",version="v1"} 1`,
		`apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="201",component="apiserver",dry_run="All",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_request_total{code="403",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="DELETE",version="v1"} 1`,
		`apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="other",verb="GET",version="v1"} 1`,
		`apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"} 1`,
		`apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	for _, pattern := range []string{
		`apiserver_request_duration_seconds_count\{component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1"\} 1`,
		`apiserver_response_sizes_count\{component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"\} 1`,
		`apiserver_admission_controller_admission_duration_seconds_count\{name="ServiceAccount",operation="CREATE",rejected="false",type="admit"\} \d+`,
		`apiserver_admission_step_admission_duration_seconds_count\{operation="CREATE",rejected="false",type="validate"\} \d+`,
		`apiserver_resource_objects\{group="",resource="namespaces"\} 4`,
		`apiserver_storage_objects\{resource="deployments.apps"\} 0`,
		`apiserver_current_inflight_requests\{request_kind="mutating"\} \d`,
		`kubernetes_build_info\{.*git_version="v1.37.2\+inboard".*\} 1`,
		`go_goroutines \d+`,
		`process_resident_memory_bytes .*`,
	} {
		re := regexp.MustCompile("^" + pattern + "$")
		if !slices.ContainsFunc(lines(t, s, pattern[:5]), re.MatchString) {
			t.Errorf("no line %s", pattern)
		}
	}
}

// Metrics are for who may see them, and a server without any has no such page.
func TestAccess(t *testing.T) {
	s, _ := open(t, metrics.Config{})
	if w := do(s, "nobody", "GET", "/metrics", ""); w.Code != http.StatusForbidden {
		t.Errorf("nobody: %d", w.Code)
	}
	if w := do(s, "admin", "POST", "/metrics", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	if w := do(s, "admin", "GET", "/", ""); !strings.Contains(w.Body.String(), `"/metrics"`) {
		t.Errorf("the index does not have it: %s", w.Body)
	}
	without := apitest.Open(t, func(c *apiserver.Config) { c.Authentication.Custom = asUser })
	if w := do(without.API, "admin", "GET", "/metrics", ""); w.Code != http.StatusNotFound {
		t.Errorf("without metrics: %d", w.Code)
	}
}

func TestWatches(t *testing.T) {
	s, _ := open(t, metrics.Config{})
	web := httptest.NewServer(s)
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", web.URL+"/api/v1/namespaces?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User", "admin")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read := bufio.NewReader(resp.Body)
	for range 4 { // the system's namespaces
		if _, err := read.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	want := `apiserver_longrunning_requests{component="apiserver",group="",resource="namespaces",scope="cluster",subresource="",verb="WATCH",version="v1"} 1`
	if got := lines(t, s, "apiserver_longrunning_requests"); !slices.Equal(got, []string{want}) {
		t.Errorf("%q", got)
	}
	// The events are counted after they are written.
	want = `apiserver_watch_events_total{group="",resource="namespaces",version="v1"} 4`
	for {
		if slices.Contains(lines(t, s, "apiserver_watch_events_total"), want) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the events are not counted")
		}
	}
}

// The names, types and help texts are as Prometheus' own linter wants them.
func TestLint(t *testing.T) {
	_, m := open(t, metrics.Config{NoProcess: true})
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Many servers share a process, each with metrics of its own; collectors of the program come along.
func TestOwnRegistries(t *testing.T) {
	extra := prometheus.NewCounter(prometheus.CounterOpts{Name: "program_total", Help: "The program's own."})
	one, _ := open(t, metrics.Config{Collectors: []prometheus.Collector{extra}})
	other, _ := open(t, metrics.Config{})
	do(one, "admin", "GET", "/api/v1/pods", "")
	if got := lines(t, other, `apiserver_request_total`); len(got) != 0 {
		t.Errorf("another server's requests: %q", got)
	}
	if got := lines(t, one, "program_total"); !slices.Equal(got, []string{"program_total 0"}) {
		t.Errorf("%q", got)
	}
	_, err := metrics.New(metrics.Config{Collectors: []prometheus.Collector{extra, extra}})
	if err == nil {
		t.Error("two collectors with one name are accepted")
	}
}

// What a request costs with metrics and without.
func BenchmarkGetOverHTTP(b *testing.B) {
	m, err := metrics.New(metrics.Config{})
	if err != nil {
		b.Fatal(err)
	}
	for _, test := range []struct {
		name string
		m    apiserver.Metrics
	}{{"without", nil}, {"with", m}} {
		b.Run(test.name, func(b *testing.B) {
			s := apitest.Open(b, func(c *apiserver.Config) {
				c.Metrics = test.m
				c.Authentication.Custom = asUser
			}).API
			r := httptest.NewRequest("GET", "/api/v1/namespaces/default", nil)
			r.Header.Set("User", "admin")
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				s.ServeHTTP(w, r)
				if w.code != http.StatusOK {
					b.Fatal(fmt.Sprint(w.code))
				}
			}
		})
	}
}

// discard is a client that reads nothing.
type discard struct {
	header http.Header
	code   int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(code int)        { d.code = code }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
