package apiserver

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// How many characters the warnings of an answer may have together before each is cut, and how many then; they are
// kube-apiserver's. Clients and proxies bound the headers of an answer.
const (
	maxWarnings    = 4 << 10
	maxLongWarning = 256
)

// warnings are those that go along with an answer, as its Warning headers.
type warnings struct {
	seen  map[string]bool
	order []string
	// written counts the characters of those in the header.
	written int
	// cut tells that they were too many, so that each is cut, and what is too much even then left out.
	cut bool
}

// add adds a warning to a header, once for each text.
func (w *warnings) add(h http.Header, text string) {
	if text == "" || w.seen[text] || w.cut && w.written >= maxWarnings {
		return
	}
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	w.seen[text] = true
	if w.cut {
		w.write(h, text)
		return
	}
	w.order = append(w.order, text)
	if w.written+utf8.RuneCountInString(text) <= maxWarnings {
		w.write(h, text)
		return
	}
	w.cut, w.written = true, 0
	h.Del("Warning")
	for _, text := range w.order {
		if w.written < maxWarnings {
			w.write(h, text)
		}
	}
	w.order = nil
}

func (w *warnings) write(h http.Header, text string) {
	runes := utf8.RuneCountInString(text)
	if w.cut && runes > maxLongWarning {
		text, runes = string([]rune(text)[:maxLongWarning]), maxLongWarning
	}
	w.written += runes
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	h.Add("Warning", `299 - "`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)+`"`)
}
