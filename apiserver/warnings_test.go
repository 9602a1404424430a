package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestWarningsBounded holds the headers to kube-apiserver's bounds, however many and however long warnings there are.
func TestWarningsBounded(t *testing.T) {
	long := strings.Repeat("ä", 3000)
	for _, c := range []struct {
		name           string
		texts          []string
		count, longest int
	}{
		{"few", []string{"a", "b", "a", ""}, 2, 1},
		{"one that is long", []string{long}, 1, 3000},
		{"two that are long", []string{long, "x" + long}, 2, 256},
		{"one that is too long", []string{long + long}, 1, 256},
		{"long ones and short ones", []string{long, "b" + long, "c", "d"}, 4, 256},
	} {
		h, w := http.Header{}, warnings{}
		for _, text := range c.texts {
			w.add(h, text)
		}
		got, longest := h.Values("Warning"), 0
		for _, v := range got {
			longest = max(longest, len([]rune(v))-len(`299 - ""`))
		}
		if len(got) != c.count || longest != c.longest {
			t.Errorf("%s: %d of up to %d characters, not %d of up to %d", c.name, len(got), longest, c.count, c.longest)
		}
	}
	h, w := http.Header{}, warnings{}
	for i := range 100000 {
		w.add(h, fmt.Sprintf("unknown field %d", i))
	}
	size := 0
	for _, v := range h.Values("Warning") {
		size += len(v)
	}
	if size > 2*maxWarnings || len(w.order) > 0 || len(w.seen) > maxWarnings {
		t.Errorf("%d bytes of headers, %d texts kept", size, len(w.seen))
	}
}

// TestWarningsQuoted keeps a warning within its header's quotes.
func TestWarningsQuoted(t *testing.T) {
	h, w := http.Header{}, warnings{}
	w.add(h, "a \"b\" \\ \r\nX-Other: c")
	if got, want := h.Get("Warning"), `299 - "a \"b\" \\   X-Other: c"`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
