package requests

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inboard/inboard/internal/compare/diff"
)

var (
	scripts = flag.String("requests.scripts", "testdata/scripts/*.txt", "which scripts to run")
	show    = flag.Bool("requests.show", false, "show the answers to scripts")
)

// step is one request of a script, and how the answers are known to differ.
type step struct {
	request
	line  int
	known map[string]string // the reason, by aspect
}

// readScript reads requests in a form like HTTP's: "> METHOD PATH", headers, an empty line and a body. A header "Hex: "
// is the body in hexadecimal. "? ASPECT: REASON" among the headers tells that the answers differ in that.
func readScript(t *testing.T, file string) (steps []step) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inBody := false
	for i, line := range strings.Split(string(raw), "\n") {
		last := len(steps) - 1
		switch {
		case strings.HasPrefix(line, "# "):
		case strings.HasPrefix(line, "> "):
			method, path, ok := strings.Cut(line[2:], " ")
			if !ok {
				t.Fatalf("%s:%d: no path", file, i+1)
			}
			inBody = false
			steps = append(steps, step{request: request{method: method, path: path, header: http.Header{}}, line: i + 1, known: map[string]string{}})
		case last < 0:
		case line == "":
			inBody = true
		case inBody:
			steps[last].body = append(steps[last].body, line+"\n"...)
		default:
			steps[last].readHeader(t, line)
		}
	}
	return steps
}

func (s *step) readHeader(t *testing.T, line string) {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		t.Fatalf("%q is no header", line)
	}
	value = strings.TrimSpace(value)
	switch {
	case strings.HasPrefix(name, "? "):
		s.known[name[2:]] = value
	case name == "Hex":
		b, err := hex.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		s.body = b
	default:
		s.header.Add(name, value)
	}
}

// Requests of every form get the same answers; their headers are compared, too.
func TestScripts(t *testing.T) {
	real, ours := start(t)
	files, err := filepath.Glob(*scripts)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts %s: %v", *scripts, err)
	}
	for _, file := range files {
		for _, s := range readScript(t, file) {
			want, got := real.send(t, s.request), ours.send(t, s.request)
			theirs, mine := aspects(want), aspects(got)
			headers(theirs, want)
			headers(mine, got)
			if *show {
				t.Logf("%s\n%s\n%s", &s.request, shown(theirs), shown(mine))
			}
			s.check(t, file, theirs, mine)
		}
	}
}

// check fails for aspects that differ unknown, and for known ones that do not.
func (s *step) check(t *testing.T, file string, theirs, mine map[string]string) {
	keys := maps.Clone(theirs)
	maps.Copy(keys, mine)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if theirs["code"] != mine["code"] && !strings.Contains("code message text", key) {
			continue // the rest follows
		}
		_, known := s.known[key]
		switch differ := theirs[key] != mine[key]; {
		case differ && !known:
			a, b := diff.Alone(theirs[key], mine[key])
			fmt.Fprintf(&text, "  %s\n    kube-apiserver: %s\n    ours:           %s\n", key, diff.Cut(a, 4000), diff.Cut(b, 4000))
		case !differ && known:
			fmt.Fprintf(&text, "  %s is no difference any more\n", key)
		}
	}
	if text.Len() > 0 {
		t.Errorf("%s:%d: %s\n%s", file, s.line, &s.request, text.String())
	}
}

// headers adds the headers that clients go by.
func headers(out map[string]string, a answer) {
	for _, name := range []string{"Content-Type", "Warning", "Cache-Control", "Retry-After", "Location", "Allow", "Vary", "X-Content-Type-Options", "Www-Authenticate"} {
		if v := a.header.Values(name); len(v) > 0 {
			out["header "+name] = volatile.ReplaceAllString(strings.Join(v, "\n"), "~")
		}
	}
	out["header Audit-Id"] = fmt.Sprint(a.header.Get("Audit-Id") != "")
}

func shown(aspects map[string]string) string {
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(aspects)) {
		fmt.Fprintf(&out, "    %s: %s\n", key, diff.Cut(aspects[key], 4000))
	}
	return out.String()
}
