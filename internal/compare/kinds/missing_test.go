package kinds

import (
	"bufio"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
)

// stable are versions that are there to stay: v1, v2.
var stable = regexp.MustCompile(`^v\d+$`)

// The kinds of stable versions in k8s.io/api that are not served stand in testdata/missing.txt. The list
// may only shrink.
func TestMissingKinds(t *testing.T) {
	served := map[schema.GroupVersionKind]bool{}
	for _, k := range kinds.All() {
		served[k.GroupVersionKind] = true
		for _, v := range k.Versions {
			served[v.GroupVersionKind] = true
		}
		for _, s := range k.Subresources {
			served[s.Kind] = true
		}
		if k.Scale != nil {
			served[schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}] = true
		}
	}
	var missing []string
	object := reflect.TypeFor[client.Object]()
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		_, hasMetadata := typ.FieldByName("ObjectMeta")
		if stable.MatchString(gvk.Version) && hasMetadata && reflect.PointerTo(typ).Implements(object) && !served[gvk] {
			missing = append(missing, gvk.GroupVersion().String()+" "+gvk.Kind)
		}
	}
	slices.Sort(missing)
	f, err := os.Open("testdata/missing.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var known []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "#") {
			known = append(known, strings.TrimSpace(strings.SplitN(line, "#", 2)[0]))
		}
	}
	for _, m := range missing {
		if !slices.Contains(known, m) {
			t.Errorf("%s is not served", m)
		}
	}
	for _, k := range known {
		if !slices.Contains(missing, k) {
			t.Errorf("%s is served: take it off the list", k)
		}
	}
}
