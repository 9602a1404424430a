package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// judge writes a line for each test that failed, and at the end the counts and how long the run took. It tells whether
// all passed but those that are known to fail, which must fail: once one passes, its mark is to be taken away. A test
// that was skipped, or that the suite does not have, has not passed.
func judge(w io.Writer, l *list, specs types.SpecReports, took time.Duration) bool {
	became := map[string]types.SpecReport{}
	for _, s := range specs {
		if s.LeafNodeType == types.NodeTypeIt {
			became[s.FullText()] = s
		} else if s.Failed() {
			fmt.Fprintf(w, "FAILED %s - %s\n", s.LeafNodeType, reasonOf(s))
		}
	}
	passed, failed, known, ok := 0, 0, 0, true
	for _, name := range l.tests {
		s, exists := became[name]
		switch {
		case exists && s.State == types.SpecStatePassed && l.known[name]:
			fmt.Fprintf(w, "PASSED %s - it is marked as known to fail: take the mark away\n", name)
			passed, ok = passed+1, false
		case exists && s.State == types.SpecStatePassed:
			passed++
		case l.known[name]:
			fmt.Fprintf(w, "KNOWN %s - %s\n", name, reasonOf(s))
			known++
		case !exists:
			fmt.Fprintf(w, "FAILED %s - the suite has no such test\n", name)
			failed, ok = failed+1, false
		default:
			fmt.Fprintf(w, "FAILED %s - %s\n", name, reasonOf(s))
			failed, ok = failed+1, false
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d known to fail; took %s\n", passed, failed, known, took.Round(time.Second))
	return ok
}

// reasonOf is why a spec did not pass, in one line.
func reasonOf(s types.SpecReport) string {
	const longest = 160
	line, _, _ := strings.Cut(s.Failure.Message, "\n")
	if len(line) > longest {
		line = line[:longest] + "..."
	}
	if line == "" {
		return s.State.String()
	}
	return s.State.String() + ": " + line
}
