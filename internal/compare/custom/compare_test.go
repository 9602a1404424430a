package custom

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/inboard/inboard/internal/compare/diff"
	"github.com/inboard/inboard/internal/compare/known"
)

var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|` +
	`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|Key: [^,]*|gen-[0-9a-z]{5}\b|^"\d+s"$|0x[0-9a-f]{6,}|selfType\d+|resourceVersion\\*":\\*"\d+`)

// own matches what any server has its own of.
var own = regexp.MustCompile(`\.metadata\.(continue|resourceVersion|uid)$|\.columnDefinitions\[\d+\]\.description$`)

// aspects returns what is compared of an answer, by name.
func aspects(a answer) map[string]string {
	out := map[string]string{"code": fmt.Sprint(a.code), "media": a.media}
	if len(a.warnings) > 0 {
		sorted := slices.Sorted(slices.Values(a.warnings))
		out["warnings"] = strings.Join(sorted, "\n")
	}
	switch {
	case a.events != nil:
		flatten(out, "events", a.events)
	case a.body == nil:
		out["text"] = strings.TrimSpace(a.text)
	case a.body["kind"] == "Status":
		status(out, a.body)
	default:
		flatten(out, "", a.body)
	}
	for k, v := range out {
		out[k] = volatile.ReplaceAllString(v, "~")
	}
	return out
}

func status(out map[string]string, body object) {
	out["reason"], out["message"] = fmt.Sprint(body["reason"]), fmt.Sprint(body["message"])
	if text, found := strings.CutPrefix(out["message"], "failed to create typed patch object"); found {
		// Of several mistakes any number is told, in any order.
		before, _, _ := strings.Cut(text, ": ")
		out["message"] = "failed to create typed patch object" + before
	}
	d, ok := body["details"].(object)
	if !ok {
		return
	}
	var causes []string
	list, _ := d["causes"].([]any)
	for _, c := range list {
		if o := c.(object); strings.Contains(fmt.Sprint(o["message"]), "contributed to estimated rule cost total") {
			o["field"] = "any" // of several that cost the same, kube-apiserver tells some
		}
		causes = append(causes, string(encoded(c)))
	}
	slices.Sort(causes)
	if len(causes) > 0 {
		out["causes"] = strings.Join(causes, "\n")
		delete(out, "message") // it tells the causes, in any order
	}
	delete(d, "causes")
	out["details"] = string(encoded(d))
}

// flatten puts the leaves of an object into out, but for what differs between any two servers.
func flatten(out map[string]string, path string, v any) {
	if own.MatchString(path) {
		return
	}
	switch v := v.(type) {
	case object:
		for key, e := range v {
			flatten(out, path+"."+key, e)
		}
		if len(v) == 0 {
			out[path] = "{}"
		}
	case []any:
		if strings.HasSuffix(path, ".metadata.managedFields") {
			v = byManager(v)
		}
		for i, e := range v {
			flatten(out, fmt.Sprintf("%s[%d]", path, i), e)
		}
		if len(v) == 0 {
			out[path] = "[]"
		}
	default:
		out[path] = string(encoded(v))
	}
}

// byManager sorts what is told of managers: the order depends on the second in which they wrote.
func byManager(list []any) []any {
	key := func(v any) string {
		m, _ := v.(object)
		return fmt.Sprint(m["manager"], m["operation"], m["subresource"], m["apiVersion"])
	}
	return slices.SortedFunc(slices.Values(list), func(a, b any) int { return strings.Compare(key(a), key(b)) })
}

// findings are the differences by what they are, with one example each.
type findings map[string]*finding

type finding struct {
	n       int
	example string
}

var index = regexp.MustCompile(`\[\d+\]`)

// compare adds how two answers differ, and tells whether they do.
func (f findings) compare(what, example string, want, got answer) bool {
	return f.differ(what, example, aspects(want), aspects(got))
}

func (f findings) differ(what, example string, theirs, ours map[string]string) bool {
	keys := maps.Clone(theirs)
	maps.Copy(keys, ours)
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, inA := theirs[key]
		b, inB := ours[key]
		if a != b || inA != inB {
			differ = append(differ, key)
		}
	}
	if len(differ) == 0 {
		return false
	}
	first := differ[0]
	switch {
	case slices.Contains(differ, "code"):
		first = fmt.Sprintf("code %s, not %s", ours["code"], theirs["code"])
	case first == "causes":
		first = firstCause(theirs[first], ours[first])
	}
	what += ": " + index.ReplaceAllString(first, "[]")
	if f[what] == nil {
		f[what] = &finding{}
	}
	if text := example + "\n" + shown(differ, theirs, ours); f[what].example == "" || len(text) < len(f[what].example) {
		f[what].example = text
	}
	f[what].n++
	return true
}

// firstCause is the first cause that only one server tells, without its values.
func firstCause(theirs, ours string) string {
	a, b := diff.Alone(theirs, ours)
	text, whose := a, "missing"
	if a == "" {
		text, whose = b, "additional"
	}
	text, _, _ = strings.Cut(text, "\n")
	var c struct{ Reason, Message, Field string }
	_ = json.Unmarshal([]byte(text), &c)
	message := c.Message[strings.LastIndex(c.Message, ": ")+1:]
	if len(message) > 80 {
		message = message[:80]
	}
	parts := strings.Split(regexp.MustCompile(`\[[^]]*\]`).ReplaceAllString(c.Field, ""), ".")
	return fmt.Sprintf("%s cause %s %s%s", whose, c.Reason, parts[len(parts)-1], message)
}

func shown(differ []string, theirs, ours map[string]string) string {
	var text strings.Builder
	for i, key := range differ {
		if i > 20 {
			fmt.Fprintf(&text, "      and %d more\n", len(differ)-i)
			break
		}
		a, b := diff.Alone(theirs[key], ours[key])
		fmt.Fprintf(&text, "      %s\n        kube-apiserver: %s\n        ours:           %s\n", key, diff.Cut(a, 2000), diff.Cut(b, 2000))
	}
	return text.String()
}

// report fails for what is not known, and, in the usual run, for what is known about the subject and not found. Other
// runs may also find what that one does not come across.
func report(t *testing.T, subject string, found findings) {
	t.Helper()
	usual := true
	flag.Visit(func(f *flag.Flag) { usual = usual && !strings.HasPrefix(f.Name, "custom.") })
	understood := known.Read(t, "testdata/known.txt")
	mine := len(understood)
	understood = append(understood, known.Read(t, "testdata/seldom.txt")...)
	used := map[int]bool{}
	keys := slices.Collect(maps.Keys(found))
	sort.Slice(keys, func(i, j int) bool { return found[keys[i]].n > found[keys[j]].n })
	for _, key := range keys {
		i := understood.Index(key)
		if i < 0 {
			t.Errorf("%d times: %s\n    such as %s", found[key].n, key, found[key].example)
			continue
		}
		used[i] = true
	}
	for i, r := range understood[:mine] {
		if usual && !used[i] && strings.HasPrefix(r.String(), "^(?:"+subject) {
			t.Errorf("testdata/known.txt: %s is no difference any more: take it out", r)
		}
	}
}
