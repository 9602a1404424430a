package crd_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestStories tells how definitions and their objects live, over HTTP. Commands:
//
//	define                      + the definition in YAML; waits until it is established
//	gone NAME                   waits until a definition is gone
//	METHOD PATH [type=T] [accept=T] [show=FIELD,..] + the body; shows the answer's code, warnings and body
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		s := start(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "define":
				s.define(t, d.Input)
				return "ok"
			case "gone":
				s.await(t, d.CmdArgs[0].Key, func(d *apiextensionsv1.CustomResourceDefinition) bool { return d == nil })
				return "ok"
			}
			return tell(t, s, d)
		})
	})
}

func tell(t *testing.T, s server, d *datadriven.TestData) string {
	path, headers, show := "", []string{"Content-Type", "application/yaml"}, ""
	for _, a := range d.CmdArgs {
		value := strings.Trim(strings.Join(a.Vals, ","), `"`)
		switch a.Key {
		case "type":
			headers = append(headers, "Content-Type", "application/"+value)
		case "accept":
			headers = append(headers, "Accept", "application/"+value)
		case "show":
			show = value
		default:
			path = a.String()
		}
	}
	a := s.do(d.Cmd, path, d.Input, headers...)
	var out strings.Builder
	fmt.Fprintln(&out, a.Code)
	for _, w := range a.Header().Values("Warning") {
		fmt.Fprintln(&out, "Warning:", w)
	}
	out.WriteString(shown(t, a.Body.Bytes(), show))
	return out.String()
}

var (
	times = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	ids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// shown returns a body, or the fields named of it, without what differs each time.
func shown(t *testing.T, body []byte, fields string) string {
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		return string(body)
	}
	drop(doc)
	var what any = doc
	if fields != "" {
		picked := map[string]any{}
		for f := range strings.SplitSeq(fields, ",") {
			if v, ok := pick(doc, f); ok {
				picked[f] = v
			}
		}
		what = picked
	}
	b, err := yaml.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	return ids.ReplaceAllString(times.ReplaceAllString(string(b), "TIME"), "UID")
}

func pick(doc map[string]any, path string) (any, bool) {
	var at any = doc
	for name := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[name]; !ok {
			return nil, false
		}
	}
	return at, true
}

// drop drops metadata that the server makes.
func drop(v any) {
	switch x := v.(type) {
	case map[string]any:
		if meta, ok := x["metadata"].(map[string]any); ok {
			for _, name := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields"} {
				delete(meta, name)
			}
		}
		for _, one := range x {
			drop(one)
		}
	case []any:
		for _, one := range x {
			drop(one)
		}
	}
}
