package webhook_test

import (
	"fmt"
	"testing"

	"github.com/inboard/inboard/internal/apitest"
)

// What a write pays: a server without the package, one with it and no configuration, with one that is about something
// else, and one that is asked.
func BenchmarkCreate(b *testing.B) {
	run := func(name string, w *world) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				must(b, w.configMap(b, fmt.Sprintf("%s-%d-%d", name, b.N, i)))
			}
		})
	}
	plain := apitest.Open(b)
	run("without", &world{Server: plain, Interface: plain.Admin()})
	w := newWorld(b)
	run("unconfigured", w)
	w.validating(b, "other", w.url("/other"), otherKind)
	run("other", w)
	w.validating(b, "asked", w.url("/asked"))
	run("asked", w)
}
