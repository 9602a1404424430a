package policy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"sigs.k8s.io/yaml"
)

// TestStories asks kube-apiserver what apiserver/policy's own tests ask this project's server; the answers in the files
// must be kube-apiserver's. With -rewrite they become so.
func TestStories(t *testing.T) {
	k := kubernetes(t)
	datadriven.Walk(t, "../../../apiserver/policy/testdata/story", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return story(t, k, d) })
	})
}

// grants is the time that kube-apiserver takes at most to know of roles and bindings.
const grants = 2 * time.Second

func story(t *testing.T, s *server, d *datadriven.TestData) string {
	header := http.Header{"Content-Type": {"application/json"}}
	if d.Cmd == "patch" {
		header.Set("Content-Type", "application/merge-patch+json")
	}
	var shows []string
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "as":
			header.Set("Impersonate-User", a.Vals[0])
			header["Impersonate-Group"] = a.Vals[1:]
		case "show":
			shows = a.Vals
		}
	}
	var body []byte
	if d.Input != "" {
		var err error
		body, err = yaml.YAMLToJSON([]byte(d.Input))
		must(t, err)
	}
	path := d.CmdArgs[0].Key
	a := s.do(t, strings.ToUpper(d.Cmd), path, header, body)
	if strings.HasPrefix(path, group) && a.code < 300 && d.Cmd != "get" {
		s.settle(t)
	}
	if strings.HasPrefix(path, "/apis/rbac.authorization.k8s.io/") {
		time.Sleep(grants)
	}
	return a.tell(shows)
}
