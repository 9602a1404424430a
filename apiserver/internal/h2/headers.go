package h2

import (
	"net/http"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// headers gathers and decodes blocks of headers, in the goroutine that reads.
type headers struct {
	decoder *hpack.Decoder
	max     int

	// A block that goes on in CONTINUATION frames.
	open   bool
	begun  frame // its HEADERS, without payload
	block  []byte
	frames int

	// What the block that was decoded last has.
	fields   []hpack.HeaderField
	size     int
	tooLarge bool
}

// maxContinuations bounds the frames of a block, whatever their size.
const maxContinuations = 128

func (h *headers) init(maxBytes int) {
	h.max = maxBytes
	h.decoder = hpack.NewDecoder(4096, h.emit)
	h.decoder.SetMaxStringLength(maxBytes)
}

func (h *headers) emit(f hpack.HeaderField) {
	h.size += int(f.Size())
	if h.size > h.max {
		h.tooLarge = true
		h.decoder.SetEmitEnabled(false) // the rest counts for the decoder's table only
		return
	}
	h.fields = append(h.fields, f)
}

// begin takes a HEADERS frame, more a CONTINUATION. Done tells that the block is whole and decoded.
func (h *headers) begin(f *frame) (done bool, err error) {
	h.begun = frame{typ: f.typ, flags: f.flags, stream: f.stream}
	if f.has(flagEndHeaders) {
		return true, h.decode(f.payload)
	}
	h.open, h.frames = true, 0
	h.block = append(h.block[:0], f.payload...)
	return false, nil
}

func (h *headers) more(f *frame) (done bool, err error) {
	if f.stream != h.begun.stream {
		return false, connError{codeProtocol, "a CONTINUATION of another stream"}
	}
	if h.frames++; h.frames > maxContinuations || len(h.block)+len(f.payload) > h.max+minMaxFrame {
		return false, connError{codeCalm, "headers without an end"}
	}
	h.block = append(h.block, f.payload...)
	if !f.has(flagEndHeaders) {
		return false, nil
	}
	h.open = false
	err = h.decode(h.block)
	if cap(h.block) > minMaxFrame {
		h.block = nil
	}
	return true, err
}

func (h *headers) decode(block []byte) error {
	clear(h.fields)
	h.fields, h.size, h.tooLarge = h.fields[:0], 0, false
	h.decoder.SetEmitEnabled(true)
	if _, err := h.decoder.Write(block); err != nil {
		return connError{codeCompression, err.Error()}
	}
	if err := h.decoder.Close(); err != nil {
		return connError{codeCompression, err.Error()}
	}
	return nil
}

// pseudo are the header fields that are not: what the first line of HTTP/1.1 says.
type pseudo struct{ method, scheme, path, authority string }

// read takes the block apart. Trailers have no pseudo fields. What is wrong is told, "" is fine.
func (h *headers) read(trailers bool) (p pseudo, header http.Header, wrong string) {
	header = make(http.Header, len(h.fields))
	values := make([]string, len(h.fields)) // one array for all
	regular := false
	for _, f := range h.fields {
		if !validValue(f.Value) {
			return p, nil, "a header's value with characters that must not be in it"
		}
		if f.IsPseudo() {
			if trailers || regular {
				return p, nil, "a pseudo header behind headers"
			}
			if !p.set(f.Name, f.Value) {
				return p, nil, "a pseudo header that is unknown or there twice"
			}
			continue
		}
		regular = true
		if !validName(f.Name) || connectionSpecific(f.Name, f.Value) {
			return p, nil, "a header that must not be in HTTP/2"
		}
		key := canonical(f.Name)
		if old := header[key]; old != nil {
			if key == "Cookie" {
				old[0] += "; " + f.Value
				continue
			}
			header[key] = append(old, f.Value)
			continue
		}
		values[0] = f.Value
		header[key], values = values[:1:1], values[1:]
	}
	return p, header, ""
}

func (p *pseudo) set(name, value string) bool {
	var to *string
	switch name {
	case ":method":
		to = &p.method
	case ":scheme":
		to = &p.scheme
	case ":path":
		to = &p.path
	case ":authority":
		to = &p.authority
	default:
		return false
	}
	if *to != "" || value == "" {
		return false
	}
	*to = value
	return true
}

func connectionSpecific(name, value string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	case "te":
		return value != "trailers"
	}
	return false
}

// validName tells whether a name is a token in lower case.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			continue
		}
		if !strings.ContainsRune("!#$%&'*+.^`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

var commonNames = func() map[string]string {
	names := map[string]string{}
	for _, n := range []string{
		"Accept", "Accept-Encoding", "Audit-Id", "Authorization", "Cache-Control", "Content-Encoding", "Content-Length",
		"Content-Type", "Cookie", "Date", "Etag", "Expect", "Host", "If-None-Match", "Impersonate-Group",
		"Impersonate-Uid", "Impersonate-User", "Kubectl-Command", "Kubectl-Session", "Location", "Retry-After",
		"Trailer", "User-Agent", "Vary", "Warning", "X-Forwarded-For", "X-Kubernetes-Pf-Flowschema-Uid",
		"X-Kubernetes-Pf-Prioritylevel-Uid",
	} {
		names[strings.ToLower(n)] = n
	}
	return names
}()

func canonical(name string) string {
	if n, ok := commonNames[name]; ok {
		return n
	}
	return http.CanonicalHeaderKey(name)
}
