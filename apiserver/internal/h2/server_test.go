package h2_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/internal/h2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server, this package's or the one of net/http.
func serve(t testing.TB, ours bool, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	ts := httptest.NewUnstartedServer(handler)
	ts.EnableHTTP2 = true
	ts.Config.ErrorLog = discard
	if ours {
		s := h2.New(h2.Config{Handler: handler, HTTP: ts.Config, ErrorLog: discard})
		ts.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": s.NextProto}
		ts.Listener = h2.Listener(ts.Listener)
		t.Cleanup(s.Shutdown)
	}
	ts.StartTLS()
	t.Cleanup(ts.Close)
	return ts
}

// answer is what a client sees of one.
type answer struct {
	Status   int
	Length   int64
	Header   http.Header
	Body     string
	Trailer  http.Header
	Failed   bool // the request
	BodyFail bool // reading the answer's body
}

func ask(c *http.Client, r *http.Request) answer {
	resp, err := c.Do(r)
	if err != nil {
		return answer{Failed: true}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.ContentLength, resp.Header, string(b), resp.Trailer, false, err != nil}
	if a.Header.Get("Date") != "" {
		a.Header.Set("Date", "there")
	}
	if len(b) > 100 {
		a.Body = fmt.Sprintf("%d bytes, %.20s", len(b), b)
	}
	if err != nil {
		a.Body = "" // how much came is a matter of luck
	}
	return a
}

// seen tells a client what the handler sees of its request.
func seen(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s host=%t length=%d tls=%t %v body=%d %v\n", r.Proto, r.Method, r.RequestURI,
		r.Host != "", r.ContentLength, r.TLS != nil, r.URL, len(body), err)
	var keys []string
	for k := range r.Header {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(w, "%s: %q\n", k, r.Header[k])
	}
	for k, v := range r.Trailer {
		fmt.Fprintf(w, "trailer %s: %q\n", k, v)
	}
}

var handlers = map[string]http.HandlerFunc{
	"/seen":    seen,
	"/nothing": func(http.ResponseWriter, *http.Request) {},
	"/status":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) },
	"/none":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"/early": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("A", "b")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("Late", "too")
		_, _ = io.WriteString(w, "fine")
	},
	"/declared": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		w.Header().Set("Content-Length", "6")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "six")
		_, _ = io.WriteString(w, "ty!")
	},
	"/short": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "60")
		_, _ = io.WriteString(w, "less")
	},
	"/html": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html><body>x") },
	"/flushed": func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "piece ")
			w.(http.Flusher).Flush()
		}
	},
	"/large": func(w http.ResponseWriter, r *http.Request) {
		for i := range 300 {
			_, _ = io.WriteString(w, strings.Repeat(string(rune('a'+i%26)), 10_000))
		}
	},
	"/headers": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Long", strings.Repeat("long ", 10_000))
		w.Header()["Two"] = []string{"a", "b"}
		w.Header().Set("Connection", "keep-alive")
		w.Header().Set("Broken", "a\nb")
		w.Header()["lower"] = []string{"x"}
	},
	"/trailers": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum, Missing")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Sum", "4")
		w.Header().Set(http.TrailerPrefix+"Other", "x")
	},
	"/trailers/empty": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	},
	"/panic": func(w http.ResponseWriter, r *http.Request) { panic("on purpose") },
	"/abort": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	},
	"/unread": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "no")
	},
	"/limited": func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 100_000))
		_, _ = fmt.Fprint(w, err)
	},
	"/deadline": func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, err)
	},
	"/late": func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second))
		time.Sleep(10 * time.Millisecond)
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	},
	"/redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/nothing", http.StatusSeeOther) },
}

func route(w http.ResponseWriter, r *http.Request) {
	h, ok := handlers[r.URL.Path]
	if !ok {
		h = seen
	}
	h(w, r)
}

// requests are made of both servers.
func requests(t *testing.T, base string) map[string]*http.Request {
	reqs := map[string]*http.Request{}
	add := func(name, method, path string, body io.Reader, change func(*http.Request)) {
		r, err := http.NewRequest(method, base+path, body)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		reqs[name] = r
	}
	for path := range handlers {
		if path == "/deadline" {
			continue
		}
		add("get "+path, "GET", path, nil, nil)
		if path != "/late" { // a HEAD has nothing that could be late
			add("head "+path, "HEAD", path, nil, nil)
		}
		add("post "+path, "POST", path, strings.NewReader("a body"), nil)
	}
	add("path", "GET", "/a%20b/c%2Fd?x=1&y=%zz", nil, nil)
	add("options", "OPTIONS", "/x", nil, nil)
	add("unknown length", "PUT", "/seen", io.MultiReader(strings.NewReader("x")), nil)
	add("nothing of unknown length", "PUT", "/seen", io.MultiReader(strings.NewReader("")), nil)
	add("large body", "POST", "/seen", strings.NewReader(strings.Repeat("x", 5<<20)), nil)
	add("limited body", "POST", "/limited", strings.NewReader(strings.Repeat("x", 5<<20)), nil)
	add("continue", "POST", "/seen", strings.NewReader("go on"), func(r *http.Request) { r.Header.Set("Expect", "100-continue") })
	add("headers", "GET", "/seen", nil, func(r *http.Request) {
		r.Header["Many"] = []string{"a", "b", "", "c"}
		r.Header["Cookie"] = []string{"a=b; c=d", "e=f"}
		r.Header.Set("X-Long", strings.Repeat("long", 10_000))
		r.Header.Set("Te", "trailers")
	})
	add("too large", "GET", "/seen", nil, func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("long", 300_000)) })
	add("trailers", "POST", "/seen", io.MultiReader(strings.NewReader("x")), func(r *http.Request) {
		r.Trailer = http.Header{"Sum": {"1"}}
	})
	pr, pw := io.Pipe()
	t.Cleanup(func() { _ = pw.Close() })
	add("body that does not end", "POST", "/deadline", pr, nil)
	return reqs
}

// TestAnswersAsNetHTTP makes the same requests of this server and of the one of net/http.
func TestAnswersAsNetHTTP(t *testing.T) {
	all := map[bool]map[string]answer{}
	for _, ours := range []bool{false, true} {
		ts := serve(t, ours, route)
		client := ts.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		all[ours] = map[string]answer{}
		for name, r := range requests(t, ts.URL) {
			all[ours][name] = ask(client, r)
		}
	}
	for name, want := range all[false] {
		if got := all[true][name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

// TestManyAtOnce has many requests of all sorts under way on one connection.
func TestManyAtOnce(t *testing.T) {
	ts := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		for len(b) > 0 {
			n := min(len(b), 3000)
			_, _ = w.Write(b[:n])
			if b = b[n:]; n%2 == 0 {
				w.(http.Flusher).Flush()
			}
		}
	})
	client := ts.Client()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for j := range 15 {
				want := strings.Repeat(string(rune('a'+i)), (i*j*977)%200_000)
				resp, err := client.Post(ts.URL, "text/plain", strings.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(got) != want {
					t.Errorf("%d bytes came as %d: %v", len(want), len(got), err)
				}
			}
		})
	}
	wg.Wait()
}
