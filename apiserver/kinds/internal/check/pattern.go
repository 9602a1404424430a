package check

import (
	"regexp"
	"sync"
)

// Pattern returns a regular expression that is compiled when it is first asked for: most programs never need most of
// them, and one with repetitions takes tens of kilobytes.
func Pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
