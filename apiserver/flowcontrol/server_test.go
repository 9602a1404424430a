package flowcontrol_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/flowcontrol"
	"github.com/inboard/inboard/internal/apitest"
)

// allowed lets everybody do everything.
var allowed = apiserver.AuthorizerFunc(func(context.Context, *apiserver.Attributes) (bool, string, error) { return true, "", nil })

// asUser makes requests those of the user that a header names.
func asUser(r *http.Request) (apiserver.Identity, bool, error) {
	id := apiserver.Identity{User: r.Header.Get("User"), Groups: []string{"system:authenticated"}}
	if id.User == "admin" {
		id.Groups = append(id.Groups, apiserver.GroupMasters)
	}
	return id, id.User != "", nil
}

// open starts a server whose writes of ConfigMaps take a while.
func open(t testing.TB, cfg flowcontrol.Config, change ...func(*apiserver.Config)) (*apitest.Server, *flowcontrol.Controller) {
	t.Helper()
	var c *flowcontrol.Controller
	s := apitest.Open(t, append([]func(*apiserver.Config){func(a *apiserver.Config) {
		cfg.Store = a.Store
		var err error
		if c, err = flowcontrol.New(cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		a.FlowControl, a.Authorizer, a.Authentication.Custom = c, allowed, asUser
		a.Admission = append(a.Admission, apiserver.AdmissionPlugin{Name: "Slow", Admit: slow})
	}}, change...)...)
	return s, c
}

// service is how long a slow write takes.
const service = 10 * time.Millisecond

func slow(_ context.Context, r *apiserver.AdmissionRequest) error {
	if r.Ref.Resource == "configmaps" {
		time.Sleep(service)
	}
	return nil
}

// steer makes a priority level of one seat, nearly, and a schema that brings there what some users do.
func steer(t testing.TB, s *apitest.Server, queuing *flowcontrolv1.QueuingConfiguration, users ...string) {
	t.Helper()
	level := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "narrow"}}
	level.Spec.Type = flowcontrolv1.PriorityLevelEnablementLimited
	level.Spec.Limited = &flowcontrolv1.LimitedPriorityLevelConfiguration{
		NominalConcurrencyShares: ptr.To[int32](1), BorrowingLimitPercent: ptr.To[int32](0),
		LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
	}
	if queuing != nil {
		level.Spec.Limited.LimitResponse = flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeQueue, Queuing: queuing}
	}
	schema := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: "narrow"}}
	rule := flowcontrolv1.PolicyRulesWithSubjects{ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
		Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true}}}
	for _, u := range users {
		rule.Subjects = append(rule.Subjects, flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: u}})
	}
	schema.Spec = flowcontrolv1.FlowSchemaSpec{
		PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "narrow"}, MatchingPrecedence: 50,
		DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
		Rules:               []flowcontrolv1.PolicyRulesWithSubjects{rule},
	}
	if _, err := client.For[*flowcontrolv1.PriorityLevelConfiguration](s.Admin()).Create(t.Context(), level); err != nil {
		t.Fatal(err)
	}
	if _, err := client.For[*flowcontrolv1.FlowSchema](s.Admin()).Create(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
}

func do(s http.Handler, user, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("User", user)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func write(s http.Handler, user, name string) *httptest.ResponseRecorder {
	return do(s, user, "POST", "/api/v1/namespaces/default/configmaps", fmt.Sprintf(`{"metadata":{"name":%q}}`, name))
}

// A user who floods the server waits in his own queues; another one hardly notices.
func TestFloodStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, flowcontrol.Config{})
		steer(t, s, &flowcontrolv1.QueuingConfiguration{Queues: 64, HandSize: 2, QueueLengthLimit: 100}, "flood", "polite")
		var flood sync.WaitGroup
		var mu sync.Mutex
		var longest time.Duration
		served := 0
		stop := make(chan struct{})
		for i := range 100 {
			flood.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					from := time.Now()
					w := write(s.API, "flood", fmt.Sprintf("flood-%d-%d", i, n))
					mu.Lock()
					if w.Code == http.StatusCreated {
						served++
					}
					longest = max(longest, time.Since(from))
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Second)
		var slowest time.Duration
		for i := range 50 {
			from := time.Now()
			if w := write(s.API, "polite", fmt.Sprintf("polite-%d", i)); w.Code != http.StatusCreated {
				t.Fatalf("the polite user got %d %s", w.Code, w.Body)
			}
			slowest = max(slowest, time.Since(from))
		}
		close(stop)
		flood.Wait()
		// The level has a few seats (its share of 600, rounded up). The polite user waits for at most one of the
		// flood's requests in each of its queues, then is served.
		if slowest > 4*service {
			t.Errorf("the polite user waited %v", slowest)
		}
		if longest < 10*service || served < 100 {
			t.Errorf("the flood was no flood: its longest wait is %v, %d were served", longest, served)
		}
		for _, f := range c.Stats().Schemas {
			if f.Waiting+f.Executing+f.SeatsWaiting+f.SeatsInUse != 0 || f.Schema == "narrow" && f.Dispatched != int64(served+50) {
				t.Errorf("%d were served; %+v", served+50, f)
			}
		}
	})
}

// A level without queues refuses what it has no seats for, and says when to come again and which objects decided so.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, flowcontrol.Config{})
		steer(t, s, nil, "hasty")
		var all sync.WaitGroup
		codes := make(chan *httptest.ResponseRecorder, 20)
		for i := range cap(codes) {
			all.Go(func() { codes <- write(s.API, "hasty", fmt.Sprintf("a-%d", i)) })
		}
		all.Wait()
		close(codes)
		fs, err := client.For[*flowcontrolv1.FlowSchema](s.Admin()).Get(t.Context(), "", "narrow")
		if err != nil {
			t.Fatal(err)
		}
		pl, err := client.For[*flowcontrolv1.PriorityLevelConfiguration](s.Admin()).Get(t.Context(), "", "narrow")
		if err != nil {
			t.Fatal(err)
		}
		count := map[int]int{}
		for w := range codes {
			count[w.Code]++
			h := w.Header()
			if h.Get("X-Kubernetes-PF-FlowSchema-UID") != string(fs.UID) || h.Get("X-Kubernetes-PF-PriorityLevel-UID") != string(pl.UID) {
				t.Errorf("the header is %v", h)
			}
			if w.Code == http.StatusTooManyRequests && (h.Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"reason":"TooManyRequests"`)) {
				t.Errorf("%v %s", h, w.Body)
			}
		}
		if count[http.StatusCreated] != 3 || count[http.StatusTooManyRequests] != 17 {
			t.Errorf("answers are %v, want 3 of 20 served: the level's seats", count)
		}
		// Administrators are exempt.
		if w := write(s.API, "admin", "b"); w.Code != http.StatusCreated {
			t.Errorf("the administrator got %d", w.Code)
		}
	})
}

// Nobody waits longer than a quarter of the time that requests have; who gives up leaves no trace.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		s, c := open(t, flowcontrol.Config{}, func(a *apiserver.Config) {
			a.Admission = []apiserver.AdmissionPlugin{{Name: "Hold", Admit: func(_ context.Context, r *apiserver.AdmissionRequest) error {
				if r.User.User == "holder" {
					<-hold
				}
				return nil
			}}}
		})
		steer(t, s, &flowcontrolv1.QueuingConfiguration{Queues: 1, HandSize: 1, QueueLengthLimit: 10}, "holder", "waiter")
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() { write(s.API, "holder", fmt.Sprintf("h-%d", i)) })
		}
		synctest.Wait()
		from := time.Now()
		w := write(s.API, "waiter", "w")
		if took := time.Since(from); w.Code != http.StatusTooManyRequests || took != 15*time.Second {
			t.Errorf("%d after %v", w.Code, took)
		}
		close(hold)
		all.Wait()
		for _, l := range c.Stats().Levels {
			if l.Waiting+l.Executing+l.SeatsInUse+l.SeatsWaiting != 0 {
				t.Errorf("level %s is %+v", l.Name, l)
			}
		}
		for _, f := range c.Stats().Schemas {
			if f.Schema == "narrow" && (f.Rejected["time-out"] != 1 || f.Dispatched != 3) {
				t.Errorf("%+v", f)
			}
		}
	})
}

// A watch takes seats until it has sent what there is, not as long as it lasts.
func TestWatchesGiveTheirSeatsBack(t *testing.T) {
	s, c := open(t, flowcontrol.Config{})
	steer(t, s, nil, "watcher")
	web := httptest.NewServer(s.API)
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 10 { // three at once would be all
		r, err := http.NewRequestWithContext(ctx, "GET", web.URL+"/api/v1/namespaces?watch=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User", "watcher")
		var resp *http.Response
		for {
			if resp, err = http.DefaultClient.Do(r); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusTooManyRequests {
				break
			}
			resp.Body.Close() // the last ones' seats are about to be given back
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	for {
		busy := 0
		for _, l := range c.Stats().Levels {
			busy += l.SeatsInUse
		}
		if busy == 0 {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("%+v", c.Stats())
		}
	}
}

// Requests for what is not a resource are sorted, too: probes are exempt, the rest is not.
func TestPages(t *testing.T) {
	s, c := open(t, flowcontrol.Config{})
	do(s.API, "someone", "GET", "/healthz", "")
	do(s.API, "someone", "GET", "/version", "")
	got := map[string]int64{}
	for _, f := range c.Stats().Schemas {
		if f.Dispatched > 0 {
			got[f.Schema] = f.Dispatched
		}
	}
	if len(got) != 2 || got["probes"] != 1 || got["global-default"] != 1 {
		t.Errorf("%v", got)
	}
}

// BenchmarkGet compares a get with flow control, where nothing waits, and without.
func BenchmarkGet(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("flowcontrol=%v", with), func(b *testing.B) {
			s, _ := open(b, flowcontrol.Config{}, func(a *apiserver.Config) {
				if !with {
					a.FlowControl = nil
				}
			})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := httptest.NewRequest("GET", "/api/v1/namespaces/default", nil)
				r.Header.Set("User", "system:serviceaccount:default:default")
				w := &discard{header: http.Header{}}
				for pb.Next() {
					clear(w.header)
					s.API.ServeHTTP(w, r)
				}
				if w.code != 0 && w.code != http.StatusOK {
					b.Error(w.code)
				}
			})
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

// The dumps are those of kube-apiserver, for who may see them.
func TestDumps(t *testing.T) {
	s, _ := open(t, flowcontrol.Config{})
	write(s.API, "someone", "a")
	levels := do(s.API, "admin", "GET", "/debug/api_priority_and_fairness/dump_priority_levels", "").Body.String()
	for _, want := range []string{
		"PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests\n",
		"\nglobal-default,    0,            true,   false,       0,               0,                 1,                  0,                0,                0\n",
	} {
		if !strings.Contains(levels, want) {
			t.Errorf("no %q in\n%s", want, levels)
		}
	}
	queues := do(s.API, "admin", "GET", "/debug/api_priority_and_fairness/dump_queues", "").Body.String()
	if n := strings.Count(queues, "\nglobal-default, "); n != 128 {
		t.Errorf("%d queues in\n%s", n, queues)
	}
	if w := do(s.API, "admin", "GET", "/debug/api_priority_and_fairness/none", ""); w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}
