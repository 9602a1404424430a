package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// document is one document, built when it is first asked for and kept compressed: schemas shrink
// to a tenth, and most clients want them compressed anyway.
type document struct {
	build func() ([]byte, error)

	once   sync.Once
	zipped []byte
	hash   string
	err    error
}

func (d *document) load() error {
	d.once.Do(func() {
		raw, err := d.build()
		if err != nil {
			d.err = err
			return
		}
		sum := sha512.Sum512(raw)
		d.hash = strings.ToUpper(hex.EncodeToString(sum[:]))
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, d.err = w.Write(raw); d.err == nil {
			d.err = w.Close()
		}
		d.zipped = bytes.Clone(b.Bytes())
	})
	return d.err
}

// serve writes the document, compressed when the client takes that, or 304 when it has it.
func (d *document) serve(w http.ResponseWriter, r *http.Request, contentType string) {
	if err := d.load(); err != nil {
		http.Error(w, "building the OpenAPI document: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	etag := strconv.Quote(d.hash)
	h.Set("Etag", etag)
	h.Set("Last-Modified", lastModified)
	h.Add("Vary", "Accept")
	h.Add("Vary", "Accept-Encoding")
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", contentType)
	if accepts(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(d.zipped)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(d.zipped) // the client went away
		}
		return
	}
	zr, err := gzip.NewReader(bytes.NewReader(d.zipped))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, zr)
	}
}

// The documents depend on nothing that changes while a program runs, nor on when it was started.
var lastModified = time.Unix(0, 0).UTC().Format(http.TimeFormat)

func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// accepts tells whether an Accept-Encoding header takes a coding.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == coding {
			return strings.ReplaceAll(strings.TrimSpace(params), " ", "") != "q=0"
		}
	}
	return false
}
