package apiserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/bootstraptoken"
)

// TestBadInput sends what is meant to hurt: each gets a 4xx, soon and without much memory.
func TestBadInput(t *testing.T) {
	s := newServer(t, asAdmin)
	const configMaps = "/api/v1/namespaces/default/configmaps"
	create(t, s, configMaps, `{"metadata":{"name":"a","annotations":{"a":"b"}},"data":{"k":"v"}}`)
	create(t, s, "/apis/apps/v1/namespaces/default/deployments", deploymentJSON)
	for _, tc := range badInput() {
		t.Run(tc.name, func(t *testing.T) {
			method, url := "POST", configMaps
			if tc.patched != "" {
				method, url = "PATCH", tc.patched
			}
			hurts(t, len(tc.body), func() *httptest.ResponseRecorder {
				return do(s, method, url, tc.body, "Content-Type", tc.media)
			})
		})
	}
}

// TestBadRequests does the same with what is not in the body.
func TestBadRequests(t *testing.T) {
	s := newServer(t, func(c *apiserver.Config) {
		c.Authentication.Tokens = map[string]apiserver.Identity{"admin": admin}
		c.Authentication.Authenticators = []apiserver.TokenAuthenticator{bootstraptoken.Authenticator{}}
	})
	many := strings.Repeat("a=b,", 100_000)
	for _, tc := range []struct{ name, url, header, value string }{
		{"a huge label selector that is wrong", "/api/v1/pods?labelSelector=" + many, "", ""},
		{"a huge set of labels", "/api/v1/pods?labelSelector=a+in+(" + strings.Repeat("!,", 200_000) + ")", "", ""},
		{"a huge field selector", "/api/v1/pods?fieldSelector=" + strings.Repeat("a.b=", 100_000), "", ""},
		{"a field selector with deep parentheses", "/api/v1/pods?labelSelector=" + strings.Repeat("(", 300_000), "", ""},
		{"a token to go on that is none", "/api/v1/pods?limit=1&continue=" + strings.Repeat("A", 400_000), "", ""},
		{"a limit that is no number", "/api/v1/pods?limit=" + strings.Repeat("9", 100_000), "", ""},
		{"a path that goes on and on", "/api/v1/namespaces/default/pods/" + strings.Repeat("a/", 200_000), "", ""},
		{"a huge name", "/api/v1/namespaces/default/pods/" + strings.Repeat("a", 400_000), "", ""},
		{"a media type of many", "/api/v1/pods", "Accept", strings.Repeat("application/x;q=0.1,", 50_000)},
		{"a media type with many parameters", "/api/v1/pods", "Accept", "application/x" + strings.Repeat(";a=b", 100_000)},
		{"a token that is none", "/api/v1/pods", "Authorization", "Bearer " + strings.Repeat("a.", 300_000)},
		{"a bootstrap token that is none", "/api/v1/pods", "Authorization", "Bearer abcdef." + strings.Repeat("0", 300_000)},
		{"basic authentication", "/api/v1/pods", "Authorization", "Basic YWRtaW46YWRtaW4="},
		{"a version not of this world", "/api/v1/pods?resourceVersion=-1", "", ""},
		{"a match of nothing", "/api/v1/pods?resourceVersionMatch=Sometimes", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hurts(t, len(tc.url)+len(tc.value), func() *httptest.ResponseRecorder {
				r := httptest.NewRequest("GET", "/", nil)
				u, err := url.Parse(tc.url)
				if err != nil {
					t.Fatal(err)
				}
				r.URL = u
				r.Header.Set("Authorization", "Bearer admin")
				if tc.header != "" {
					r.Header.Set(tc.header, tc.value)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w
			})
		})
	}
}

// maxHurt is the memory that a bad request may take over its life: what one takes at once is less.
const maxHurt = 256 << 20

// hurts checks that a request gets a 4xx, soon and without much memory.
func hurts(t *testing.T, size int, send func() *httptest.ResponseRecorder) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	w := send()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if w.Code < 400 || w.Code >= 500 {
		t.Errorf("%d %.300s", w.Code, w.Body)
	}
	if w.Body.Len() > 8<<20 {
		t.Errorf("an answer of %d bytes to %d", w.Body.Len(), size)
	}
	limit := uint64(maxHurt)
	if raceDetector {
		limit *= 16
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > limit {
		t.Errorf("%d MB for %d bytes, in %s", used>>20, size, took)
	}
	if took > 20*time.Second { // the race detector on a busy machine; else well under one
		t.Errorf("%s for %d bytes", took, size)
	}
}

func create(t *testing.T, s http.Handler, url, body string) {
	t.Helper()
	if w := do(s, "POST", url, body); w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

const deploymentJSON = `{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`

type badBody struct{ name, media, body, patched string }

// nested is a YAML document whose anchors make it ten times as large at each level.
func nested() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		n, p := string(rune('a'+i)), string(rune('a'+i-1))
		if i == 1 {
			p = "a0"
		}
		b.WriteString(n + ": &" + n + " [" + strings.TrimSuffix(strings.Repeat("*"+p+", ", 10), ", ") + "]\n")
	}
	return b.String()
}

func badInput() []badBody {
	const (
		one, dep  = "/api/v1/namespaces/default/configmaps/a", "/apis/apps/v1/namespaces/default/deployments/d"
		js, ym    = "application/json", "application/yaml"
		proto     = "application/vnd.kubernetes.protobuf"
		merge     = "application/merge-patch+json"
		patch     = "application/json-patch+json"
		strategic = "application/strategic-merge-patch+json"
		applied   = "application/apply-patch+yaml"
	)
	double := `[{"op":"copy","from":"/metadata/annotations","path":"/metadata/annotations/x"}`
	doubles := func(n int) string {
		return double + strings.Repeat(`,{"op":"copy","from":"/metadata","path":"/metadata/annotations/y"},{"op":"move","from":"/metadata/annotations/y","path":"/metadata/z"}`, n) + "]"
	}
	return []badBody{
		{"deep JSON", js, strings.Repeat(`{"a":`, 200_000), ""},
		{"deep lists", js, `{"metadata":{"annotations":` + strings.Repeat("[", 500_000), ""},
		{"deep JSON that ends", js, strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000), ""},
		{"deep data that is no text", js, `{"metadata":{"name":"x"},"data":` + strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_001), ""},
		{"a name of a megabyte", js, `{"metadata":{"name":"` + strings.Repeat("x", 1<<20) + `"}}`, ""},
		{"a body that is too large", js, `{"metadata":{"name":"` + strings.Repeat("x", 4<<20) + `"}}`, ""},
		{"many labels that are wrong", js, `{"metadata":{"name":"x","labels":{` + strings.TrimSuffix(manyKeys(40_000), ",") + `}}}`, ""},
		{"managed fields that are none", js, `{"metadata":{"name":"x","managedFields":[{"manager":"m","operation":"Update","fieldsType":"FieldsV1","fieldsV1":` + strings.Repeat(`{"f:a":`, 9_000) + "1" + strings.Repeat("}", 9_000) + `}]},"data":1}`, ""},
		{"YAML aliases", ym, nested(), ""},
		{"deep YAML", ym, "a: " + strings.Repeat("[", 100_000), ""},
		{"YAML of many documents", ym, strings.Repeat("---\na: b\n", 50_000), ""},
		{"YAML that is binary", ym, "\x00\x01\xff", ""},
		{"broken protobuf", proto, "k8s\x00\xff\xff\xff\xff\xff\xff", ""},
		{"protobuf with a huge length", proto, "k8s\x00\x12\xff\xff\xff\xff\x07", ""},
		{"protobuf of groups in groups", proto, "k8s\x00" + strings.Repeat("\x0b", 500_000), ""},
		{"protobuf without its beginning", proto, "\x0a\x00", ""},
		{"a null", js, "null", ""},
		{"two objects", js, `{"metadata":{"name":"a"}}{"metadata":{"name":"b"}}`, ""},
		{"not UTF-8", js, "{\"metadata\":{\"name\":\"\xff\xfe\"}}", ""},
		{"CBOR", "application/cbor", "\xd9\xd9\xf7\xa0", ""},

		{"a deep merge patch", merge, strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000), one},
		{"a merge patch that does not end", merge, strings.Repeat(`{"a":`, 200_000), one},
		{"a deep strategic merge patch", strategic, strings.Repeat(`{"spec":`, 100_000) + "1" + strings.Repeat("}", 100_000), dep},
		{"directives that are wrong", strategic, `{"spec":{"strategy":{"$retainKeys":"` + strings.Repeat("x", 1<<20) + `"}}}`, dep},
		{"a JSON patch of too many operations", patch, "[" + strings.TrimSuffix(strings.Repeat(`{"op":"test","path":"/kind","value":"x"},`, 10_001), ",") + "]", one},
		{"a JSON patch that doubles", patch, doubles(60), one},
		{"a JSON patch with a huge index", patch, `[{"op":"add","path":"/metadata/finalizers","value":[]},{"op":"add","path":"/metadata/finalizers/999999999999","value":"x"}]`, one},
		{"a deep JSON patch", patch, `[{"op":"add","path":"/data","value":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + `}]`, one},
		{"a JSON patch with a deep path", patch, `[{"op":"add","path":"` + strings.Repeat("/a", 400_000) + `","value":1}]`, one},
		{"an apply of aliases", applied, nested(), one},
		{"a deep apply", applied, "a: " + strings.Repeat("[", 100_000), one},
		{"an apply of deep JSON", applied, strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000), one},
		{"an apply of many items twice", applied, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"template":{"spec":{"containers":[` + strings.TrimSuffix(strings.Repeat(`{"name":"c"},`, 20_000), ",") + `]}}}}`, dep},
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"!%d":"x",`, i)
	}
	return b.String()
}
