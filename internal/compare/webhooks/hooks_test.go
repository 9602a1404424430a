package webhooks

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// hookServer answers for both API servers, at /real and /ours, and remembers what the test's user caused.
type hookServer struct {
	*httptest.Server
	mu sync.Mutex
	// answers are what webhooks say, by the last part of their path; where there is none, all is allowed.
	answers map[string]string
	asked   map[string][]review
}

// review is what an API server asked.
type review struct {
	hook, timeout, agent string
	body                 object
}

func newHookServer(t *testing.T) *hookServer {
	s := &hookServer{answers: map[string]string{}, asked: map[string][]review{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *hookServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (s *hookServer) serve(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/")
	server, hook, _ := strings.Cut(rest, "/")
	raw, err := io.ReadAll(r.Body)
	in := review{hook: hook, timeout: r.URL.Query().Get("timeout"), agent: r.UserAgent()}
	if err != nil || json.Unmarshal(raw, &in.body) != nil {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	request := in.body["request"].(object)
	answer := `{"allowed":true}`
	if request["userInfo"].(object)["username"] == "admin" {
		s.mu.Lock()
		s.asked[server] = append(s.asked[server], in)
		if own := s.answers[hook]; own != "" {
			answer = own
		}
		s.mu.Unlock()
	}
	if code := map[string]int{"404": 404, "503": 503}[answer]; code != 0 {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(answer, `{"allowed"`) {
		answer = `{"kind":"AdmissionReview","apiVersion":"` + in.body["apiVersion"].(string) + `","response":{"uid":"UID",` + answer[1:] + `}`
	}
	w.Write(bytes.ReplaceAll([]byte(answer), []byte("UID"), []byte(request["uid"].(string))))
}

// say makes webhooks answer something; nothing lets them allow all again.
func (s *hookServer) say(hook, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[hook] = answer
}

// take returns what a server asked since it was last called.
func (s *hookServer) take(server string) []review {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked[server]
	delete(s.asked, server)
	return out
}
