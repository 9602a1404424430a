package plain_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/inboard/inboard/apiserver/internal/plain"
)

var rules = map[string]struct {
	plain   func(string) bool
	library func(string) []string
}{
	"label":     {plain.Label, validation.IsDNS1123Label},
	"subdomain": {plain.Subdomain, validation.IsDNS1123Subdomain},
	"key":       {plain.LabelKey, validation.IsQualifiedName},
	"value":     {plain.LabelValue, validation.IsValidLabelValue},
}

func same(t *testing.T, s string) {
	t.Helper()
	for name, rule := range rules {
		messages := rule.library(s)
		if got, want := rule.plain(s), len(messages) == 0; got != want {
			t.Errorf("%s: %q is valid: %v, to the library: %v (%s)", name, s, got, want, messages)
		}
	}
}

// TestSame compares with the library all strings of up to four of the characters that matter, alone, and at the end
// of what is as long as may be.
func TestSame(t *testing.T) {
	const letters = "aZ0-_./ \n\u00e9"
	long := []string{"", strings.Repeat("a", 60), strings.Repeat("a.", 125), strings.Repeat("a", 250) + "/", strings.Repeat("a", 59) + "/" + strings.Repeat("b", 60)}
	var all func(s string, left int)
	all = func(s string, left int) {
		for _, l := range long {
			same(t, l+s)
			same(t, s+l)
		}
		if left > 0 {
			for _, c := range letters {
				all(s+string(c), left-1)
			}
		}
	}
	all("", 4)
}

func FuzzSame(f *testing.F) {
	for _, s := range []string{"", "web", "web-0.example.com", "app.kubernetes.io/name", "v1.2_3", "-", "a..b", "A/b/c"} {
		f.Add(s)
	}
	f.Fuzz(same)
}
