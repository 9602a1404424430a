package tainteviction

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStories: "patience" with lines "taint key[=value]:effect" and "tolerate key[=value][:effect]
// [seconds]" ("tolerate *" is everything) prints how long the pod stays.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			var taints []corev1.Taint
			var tolerations []corev1.Toleration
			for line := range strings.Lines(td.Input) {
				words := strings.Fields(line)
				name, effect, _ := strings.Cut(words[1], ":")
				key, value, equal := strings.Cut(name, "=")
				if words[0] == "taint" {
					taints = append(taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
					continue
				}
				o := corev1.Toleration{Key: key, Value: value, Effect: corev1.TaintEffect(effect), Operator: corev1.TolerationOpExists}
				if equal {
					o.Operator = corev1.TolerationOpEqual
				}
				if key == "*" {
					o.Key = ""
				}
				if len(words) > 2 {
					n, err := strconv.ParseInt(words[2], 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					o.TolerationSeconds = &n
				}
				tolerations = append(tolerations, o)
			}
			d, forever := Patience(taints, tolerations)
			switch {
			case forever:
				return "stays\n"
			case d == 0:
				return "goes at once\n"
			}
			return fmt.Sprintf("goes after %s\n", d)
		})
	})
}

// TestMoreTolerationsNeverHurryOneTaint: with one taint, a toleration put behind others never
// shortens the stay; and taints without NoExecute never matter.
func TestMoreTolerationsNeverHurryOneTaint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taint := corev1.Taint{Key: "k", Effect: corev1.TaintEffectNoExecute}
		gen := rapid.Custom(func(t *rapid.T) corev1.Toleration {
			o := corev1.Toleration{Operator: corev1.TolerationOpExists, Key: rapid.SampledFrom([]string{"", "k", "x"}).Draw(t, "key")}
			if rapid.Bool().Draw(t, "limited") {
				n := rapid.Int64().Draw(t, "seconds")
				o.TolerationSeconds = &n
			}
			return o
		})
		list := rapid.SliceOfN(gen, 0, 4).Draw(t, "tolerations")
		d, forever := Patience([]corev1.Taint{taint}, list)
		if d < 0 {
			t.Fatalf("%s", d)
		}
		more, still := Patience([]corev1.Taint{taint, {Key: "y", Effect: corev1.TaintEffectNoSchedule}}, append(slices.Clone(list), gen.Draw(t, "one more")))
		if forever && !still || !still && more < d {
			t.Fatalf("%s, %t became %s, %t", d, forever, more, still)
		}
	})
}
