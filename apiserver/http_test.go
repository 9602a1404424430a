package apiserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/inboard/inboard/apiserver"
)

// shownHeaders are the headers of answers that the scripts show.
var shownHeaders = []string{"Warning", "Retry-After", "Www-Authenticate", "Content-Encoding", "Allow"}

var versions = regexp.MustCompile(`"resourceVersion": ?"\d+"`)

// TestHTTP tells what single requests get. A script's command is a method with a path and header
// arguments; what follows is the body. show=PATH,... prints fields of the answer, raw the answer.
func TestHTTP(t *testing.T) {
	datadriven.Walk(t, "testdata/http", func(t *testing.T, path string) {
		s := newServer(t, func(c *apiserver.Config) {
			c.Authentication.Tokens = map[string]apiserver.Identity{
				"admin": admin, "nobody": {User: "nobody"},
				"scheduler": {User: "system:kube-scheduler"}, "node": {User: "system:node:n1", Groups: []string{"system:nodes"}},
			}
		})
		runServer(t, s)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return request(t, s, d) })
	})
}

func request(t *testing.T, s http.Handler, d *datadriven.TestData) string {
	url, rest, _ := strings.Cut(d.Input, "\n")
	r := httptest.NewRequest(d.Cmd, url, strings.NewReader(rest))
	if rest == "" {
		r.Body = http.NoBody
	}
	r.Header.Set("Authorization", "Bearer admin")
	if strings.HasPrefix(rest, "apiVersion:") || strings.HasPrefix(rest, "metadata:") {
		r.Header.Set("Content-Type", "application/yaml")
	}
	var show string
	raw := false
	for _, a := range d.CmdArgs {
		switch value := strings.Join(a.Vals, ","); a.Key {
		case "show":
			show = value
		case "raw":
			raw = true
		case "token":
			r.Header.Set("Authorization", "Bearer "+value)
			if value == "" {
				r.Header.Del("Authorization")
			}
		default:
			r.Header.Set(a.Key, value)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer(t, w, show, raw)
}

func answer(t *testing.T, w *httptest.ResponseRecorder, show string, raw bool) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d %s\n", w.Code, w.Header().Get("Content-Type"))
	for _, h := range shownHeaders {
		for _, v := range w.Header().Values(h) {
			fmt.Fprintf(&out, "%s: %s\n", h, v)
		}
	}
	body := w.Body.Bytes()
	var doc map[string]any
	isObject := json.Unmarshal(body, &doc) == nil
	switch {
	case raw:
		out.WriteString(versions.ReplaceAllString(scrub(string(body)), `"resourceVersion":"N"`))
	case isObject && doc["kind"] == "Status":
		fmt.Fprintf(&out, "%v %v: %v\n", doc["status"], doc["reason"], scrub(fmt.Sprint(doc["message"])))
	case isObject && show != "":
		for _, path := range strings.Split(show, ",") {
			fmt.Fprintf(&out, "%s=%s\n", path, scrub(compact(dig(doc, strings.Split(path, ".")))))
		}
	case !isObject && !bytes.HasPrefix(body, []byte("k8s")):
		out.WriteString(scrub(string(body)))
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}
