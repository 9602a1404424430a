// Package known reads the lists of differences from Kubernetes that are understood.
package known

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// List are the patterns of a list.
type List []*regexp.Regexp

// Index returns which of the patterns fits a difference, -1 for none.
func (l List) Index(difference string) int {
	return slices.IndexFunc(l, func(r *regexp.Regexp) bool { return r.MatchString(difference) })
}

// Has tells whether one of the patterns fits a difference.
func (l List) Has(difference string) bool { return l.Index(difference) >= 0 }

// Read reads a list: a regular expression a line, which has to fit a difference as a whole; "#" begins a comment.
func Read(t testing.TB, file string) List {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var known List
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "#") {
			known = append(known, regexp.MustCompile("^(?:"+line+")$"))
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return known
}
