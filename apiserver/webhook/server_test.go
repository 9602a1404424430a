package webhook_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/webhook"
	"github.com/inboard/inboard/internal/apitest"
)

// behaviour is what a webhook of the tests does, at one path.
type behaviour struct {
	// Deny refuses with a status, Patch is a JSON patch.
	Deny     *metav1.Status    `json:"deny"`
	Patch    json.RawMessage   `json:"patch"`
	Warnings []string          `json:"warnings"`
	Audit    map[string]string `json:"audit"`
	// Response, when not empty, is what the webhook answers instead; UID in it is the request's.
	Response string `json:"response"`
	Code     int    `json:"code"`
	// Hang keeps the answer back until the caller gives up.
	Hang bool `json:"hang"`
}

// hookServer is a server of webhooks that remembers what it was asked.
type hookServer struct {
	*httptest.Server
	mu    sync.Mutex
	does  map[string]behaviour
	asked []asked
}

// asked is a review that came in.
type asked struct {
	path, timeout, agent, proto string
	raw                         []byte
	review                      admissionv1.AdmissionReview
}

func newHookServer(t testing.TB) *hookServer {
	s := &hookServer{does: map[string]behaviour{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Server.EnableHTTP2 = true
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Server.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ca returns what its certificate is checked by.
func (s *hookServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (s *hookServer) set(path string, b behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.does[path] = b
}

// take returns what was asked since it was last called.
func (s *hookServer) take() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

func (s *hookServer) serve(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	a := asked{path: r.URL.Path, timeout: r.URL.Query().Get("timeout"), agent: r.UserAgent(), proto: r.Proto, raw: raw}
	if err != nil || json.Unmarshal(raw, &a.review) != nil || a.review.Request == nil {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, a)
	b := s.does[r.URL.Path]
	s.mu.Unlock()
	if b.Hang {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if b.Code != 0 {
		w.WriteHeader(b.Code)
	}
	w.Write(b.answer(&a.review))
}

func (b *behaviour) answer(review *admissionv1.AdmissionReview) []byte {
	if b.Response != "" {
		return bytes.ReplaceAll([]byte(b.Response), []byte("UID"), []byte(review.Request.UID))
	}
	resp := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: b.Deny == nil, Result: b.Deny, Warnings: b.Warnings, AuditAnnotations: b.Audit}
	if len(b.Patch) > 0 {
		kind := admissionv1.PatchTypeJSONPatch
		resp.Patch, resp.PatchType = b.Patch, &kind
	}
	out, err := json.Marshal(&admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: resp})
	if err != nil {
		panic(err)
	}
	return out
}

// world is an API server with webhooks.
type world struct {
	*apitest.Server
	hooks *hookServer
	client.Interface
}

func newWorld(t testing.TB, change ...func(*webhook.Config, *apiserver.Config)) *world {
	t.Helper()
	w := &world{hooks: newHookServer(t)}
	w.Server = apitest.Open(t, func(c *apiserver.Config) {
		cfg := webhook.Config{Store: c.Store}
		for _, f := range change {
			f(&cfg, c)
		}
		hooks, err := webhook.New(cfg)
		must(t, err)
		t.Cleanup(func() { _ = hooks.Close() })
		c.Kinds = append(kinds.All(), webhook.Kinds()...)
		c.Admission = append(c.Admission, hooks.Admission()...)
	})
	w.Interface = w.Admin()
	return w
}

func fillIn(m map[string]any, key string, v any) {
	if _, ok := m[key]; !ok {
		m[key] = v
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
