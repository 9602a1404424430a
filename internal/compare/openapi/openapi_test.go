package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/internal/compare/known"
	"github.com/inboard/inboard/internal/compare/kube"
)

type object = map[string]any

// fetch returns a document; nil when there is none.
type fetch func(path string) object

func read(t *testing.T, status int, body []byte) object {
	t.Helper()
	if status != http.StatusOK {
		return nil
	}
	var out object
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func theirs(t *testing.T) fetch {
	cfg := kube.Start(t)
	cfg.GroupVersion, cfg.NegotiatedSerializer = nil, nil
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(path string) object {
		resp, err := hc.Get(cfg.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out object
		if resp.StatusCode != http.StatusOK {
			return nil
		}
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func ours(t *testing.T) fetch {
	h := apiserver.OpenAPI(kinds.All(), "v1.37.2")
	return func(path string) object {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return read(t, w.Code, w.Body.Bytes())
	}
}

// comparison gathers what differs, by the patterns of known.txt.
type comparison struct {
	t    *testing.T
	list known.List
	used []bool
}

func (c *comparison) differ(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if i := c.list.Index(text); i >= 0 {
		c.used[i] = true
		return
	}
	c.t.Error(text)
}

// value compares two parts of a document; at says where they are.
func (c *comparison) value(at string, ours, theirs any) {
	a, aok := ours.(object)
	b, bok := theirs.(object)
	if !aok || !bok {
		if strings.HasSuffix(at, ".required") || strings.HasSuffix(at, ".enum") || strings.HasSuffix(at, "-group-version-kind") {
			ours, theirs = sorted(ours), sorted(theirs)
		}
		if strings.HasSuffix(at, ".description") {
			// Which values are possible is compared by themselves. What each means stands in comments of constants
			// and is not told.
			ours, theirs = withoutValues(ours), withoutValues(theirs)
		}
		if !reflect.DeepEqual(ours, theirs) {
			c.differ("%s: %s, kube-apiserver %s", at, brief(ours), brief(theirs))
		}
		return
	}
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		x, ok := a[k]
		y, both := b[k]
		switch {
		case !ok:
			c.differ("%s.%s: missing, kube-apiserver %s", at, k, brief(y))
		case !both:
			c.differ("%s.%s: %s, kube-apiserver none", at, k, brief(x))
		default:
			c.value(at+"."+k, x, y)
		}
	}
}

func withoutValues(description any) any {
	s, _ := description.(string)
	s, _, _ = strings.Cut(s, "\n\nPossible enum values:")
	return strings.TrimRight(s, "\n")
}

func sorted(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return list
}

func brief(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if s := string(b); len(s) <= 160 {
		return s
	}
	return string(b[:70]) + " ... " + string(b[len(b)-70:])
}

// schemas compares the schemas that both documents have: fields, types, values, defaults, descriptions, what must be
// given, and Kubernetes' extensions.
func (c *comparison) schemas(at string, ours, theirs object) {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if theirs[name] == nil {
			c.differ("%s %s: kube-apiserver has none", at, name)
			continue
		}
		n++
		c.value(at+" "+name, ours[name], theirs[name])
	}
	c.t.Logf("%s: %d schemas are compared", at, n)
}

// TestSchemas compares all schemas of both versions of OpenAPI. Differences that are understood are listed in
// testdata/known.txt; one that is none any more has to be taken off.
func TestSchemas(t *testing.T) {
	have, want := ours(t), theirs(t)
	c := &comparison{t: t, list: known.Read(t, "testdata/known.txt")}
	c.used = make([]bool, len(c.list))
	for path := range have("/openapi/v3")["paths"].(object) {
		a, b := have("/openapi/v3/"+path), want("/openapi/v3/"+path)
		if b == nil {
			c.differ("%s: kube-apiserver has none", path)
			continue
		}
		c.schemas("v3", a["components"].(object)["schemas"].(object), b["components"].(object)["schemas"].(object))
	}
	c.schemas("v2", have("/openapi/v2")["definitions"].(object), want("/openapi/v2")["definitions"].(object))
	for i, u := range c.used {
		if !u {
			t.Errorf("the known difference %q is none any more: take it off the list", c.list[i])
		}
	}
}
