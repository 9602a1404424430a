package apiserver

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// linkAttributes are the attributes of HTML's elements that hold URLs.
var linkAttributes = map[atom.Atom][]string{
	atom.A: {"href"}, atom.Applet: {"codebase"}, atom.Area: {"href"}, atom.Audio: {"src"}, atom.Base: {"href"},
	atom.Blockquote: {"cite"}, atom.Body: {"background"}, atom.Button: {"formaction"}, atom.Command: {"icon"}, atom.Del: {"cite"},
	atom.Embed: {"src"}, atom.Form: {"action"}, atom.Frame: {"longdesc", "src"}, atom.Head: {"profile"}, atom.Html: {"manifest"},
	atom.Iframe: {"longdesc", "src"}, atom.Img: {"longdesc", "src", "usemap"}, atom.Input: {"src", "usemap", "formaction"},
	atom.Ins: {"cite"}, atom.Link: {"href"}, atom.Object: {"classid", "codebase", "data", "usemap"}, atom.Q: {"cite"},
	atom.Script: {"src"}, atom.Source: {"src"}, atom.Video: {"poster", "src"},
}

// maxToken bounds what of a page is held in memory: a tag, or the text between two.
const maxToken = 16 << 20

// proxied changes answers so that they lead through a proxy again.
type proxied struct {
	// prefix is the path of the proxy itself; host is what the client calls this server, and backend the other side.
	prefix, host, backend string
}

// link returns what takes the place of a link that is absolute on the other side. Others stay.
func (p proxied) link(u *url.URL) string {
	elsewhere := u.Host != "" && u.Host != p.backend && u.Host != p.host
	if elsewhere || !strings.HasPrefix(u.Path, "/") {
		return u.String()
	}
	if u.Host != p.host {
		u.Scheme, u.Host = "", ""
	}
	if strings.HasPrefix(u.Path, p.prefix) {
		return u.String()
	}
	slash := strings.HasSuffix(u.Path, "/")
	u.Path = path.Join(p.prefix, u.Path)
	if slash {
		u.Path += "/"
	}
	u.RawPath = ""
	return u.String()
}

// answer changes where a redirect leads, or else the links of a page; what the other side allows other origins is not for
// it to say.
func (p proxied) answer(resp *http.Response) error {
	for _, name := range []string{"Credentials", "Headers", "Methods", "Origin"} {
		resp.Header.Del("Access-Control-Allow-" + name)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if location := resp.Header.Get("Location"); location != "" {
		if u, err := url.Parse(location); err == nil {
			resp.Header.Set("Location", p.link(u))
		}
		return nil
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if strings.TrimSpace(media) != "text/html" {
		return nil
	}
	return p.page(resp)
}

// page changes the links of a page as it is read. A page in an encoding that is unknown stays as it is.
func (p proxied) page(resp *http.Response) error {
	encoding := resp.Header.Get("Content-Encoding")
	if encoding != "" && encoding != "gzip" && encoding != "deflate" {
		return nil
	}
	resp.Header.Del("Content-Length")
	resp.ContentLength = -1
	if resp.Request.Method == http.MethodHead {
		return nil
	}
	out := &page{proxied: p, body: resp.Body}
	in := io.Reader(resp.Body)
	switch encoding {
	case "gzip":
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		zip := gzip.NewWriter(&out.ready)
		in, out.w, out.finish = unzipped, zip, zip.Close
	case "deflate":
		zip, err := flate.NewWriter(&out.ready, flate.BestCompression)
		if err != nil {
			return err
		}
		in, out.w, out.finish = flate.NewReader(in), zip, zip.Close
	default:
		out.w = &out.ready
	}
	out.tokens = html.NewTokenizer(in)
	out.tokens.SetMaxBuf(maxToken)
	resp.Body = out
	return nil
}

// page is the body of an answer whose links are changed.
type page struct {
	proxied
	body   io.Closer
	tokens *html.Tokenizer
	w      io.Writer    // where tokens go, by way of a compression perhaps
	ready  bytes.Buffer // what can be read
	finish func() error // ends a compression
	err    error
}

// Read implements io.Reader.
func (p *page) Read(b []byte) (int, error) {
	for p.ready.Len() == 0 && p.err == nil {
		p.err = p.next()
	}
	if p.ready.Len() > 0 {
		return p.ready.Read(b)
	}
	return 0, p.err
}

// Close implements io.Closer.
func (p *page) Close() error { return p.body.Close() }

// next reads one token and writes what takes its place.
func (p *page) next() error {
	kind := p.tokens.Next()
	switch kind {
	case html.ErrorToken:
		err := p.tokens.Err()
		if errors.Is(err, io.EOF) && p.finish != nil {
			if err := p.finish(); err != nil {
				return err
			}
		}
		return err
	case html.StartTagToken, html.SelfClosingTagToken:
		token := p.tokens.Token()
		names := linkAttributes[token.DataAtom]
		for i, attr := range token.Attr {
			if !slices.Contains(names, attr.Key) {
				continue
			}
			if u, err := url.Parse(attr.Val); err == nil {
				token.Attr[i].Val = p.link(u)
			}
		}
		_, err := io.WriteString(p.w, token.String())
		return err
	default:
		_, err := p.w.Write(p.tokens.Raw())
		return err
	}
}
