package apiserver

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const proxyPrefix = "/api/v1/namespaces/default/pods/http:web:80/proxy"

// packed returns a page in an encoding.
func packed(t interface{ Fatal(...any) }, encoding, text string) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w, _ = flate.NewWriter(&out, flate.BestSpeed)
	default:
		return []byte(text)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpacked(t interface{ Fatal(...any) }, resp *http.Response) string {
	in := io.Reader(resp.Body)
	switch resp.Header.Get("Content-Encoding") {
	case "gzip":
		var err error
		if in, err = gzip.NewReader(in); err != nil {
			t.Fatal(err)
		}
	case "deflate":
		in = flate.NewReader(in)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// through returns what a proxy makes of what the other side answers.
func through(t interface{ Fatal(...any) }, encoding, media, location, text string) (body, redirect string) {
	r := &http.Request{Method: http.MethodGet, Host: "api:6443", URL: &url.URL{Scheme: "http", Host: "10.0.0.1:80", Path: "/"}}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(bytes.NewReader(packed(t, encoding, text)))}
	for name, value := range map[string]string{"Content-Type": media, "Content-Encoding": encoding, "Location": location} {
		if value != "" {
			resp.Header.Set(name, value)
		}
	}
	if err := (proxied{prefix: proxyPrefix, host: "api:6443", backend: "10.0.0.1:80"}).answer(resp); err != nil {
		t.Fatal(err)
	}
	return unpacked(t, resp), resp.Header.Get("Location")
}

// TestProxiedPage: links on the other side lead through the proxy, and nothing else changes.
func TestProxiedPage(t *testing.T) {
	for _, tc := range []struct{ page, want string }{
		{`<a href="/x">`, `<a href="` + proxyPrefix + `/x">`},
		{`<a href="x/y">`, `<a href="x/y">`},
		{`<a href="http://10.0.0.1:80/x/?q=1#f">`, `<a href="` + proxyPrefix + `/x/?q=1#f">`},
		{`<a href="https://api:6443/x">`, `<a href="https://api:6443` + proxyPrefix + `/x">`},
		{`<a href="http://elsewhere/x">`, `<a href="http://elsewhere/x">`},
		{`<img src="/a.png" alt="/b">`, `<img src="` + proxyPrefix + `/a.png" alt="/b">`},
		{`<p title="/x">a<!-- /x -->&amp;</p>`, `<p title="/x">a<!-- /x -->&amp;</p>`},
		{`<a href="` + proxyPrefix + `/x">`, `<a href="` + proxyPrefix + `/x">`},
		{`<a href="/%zz">`, `<a href="/%zz">`},
	} {
		for _, encoding := range []string{"", "gzip", "deflate", "br"} {
			want := tc.want
			if encoding == "br" {
				want = tc.page
			}
			if got, _ := through(t, encoding, "text/html; charset=utf-8", "", tc.page); got != want {
				t.Errorf("%s %q:\n%s\nwant\n%s", tc.page, encoding, got, want)
			}
		}
	}
	if got, _ := through(t, "", "text/plain", "", `<a href="/x">`); got != `<a href="/x">` {
		t.Errorf("text became %s", got)
	}
}

// TestProxiedRedirect: redirects on the other side lead through the proxy; pages that come along stay.
func TestProxiedRedirect(t *testing.T) {
	for _, tc := range []struct{ location, want string }{
		{"/there?x=1", proxyPrefix + "/there?x=1"},
		{"there", "there"},
		{"http://10.0.0.1:80/there/", proxyPrefix + "/there/"},
		{"http://elsewhere/there", "http://elsewhere/there"},
		{proxyPrefix + "/there", proxyPrefix + "/there"},
	} {
		body, got := through(t, "", "text/html", tc.location, `<a href="/x">`)
		if got != tc.want || body != `<a href="/x">` {
			t.Errorf("%s: to %s, want %s; %s", tc.location, got, tc.want, body)
		}
	}
}

// FuzzProxiedPage: a page becomes the same whatever its encoding, and what holds no link comes through byte by byte.
func FuzzProxiedPage(f *testing.F) {
	f.Add(`<a href="/x">text</a>`)
	f.Add(`<!-- <a href='/x'`)
	f.Add(`<script>if (a < b) "</script"</script><img SRC=/y>`)
	f.Fuzz(func(t *testing.T, text string) {
		plain, _ := through(t, "", "text/html", "", text)
		for _, encoding := range []string{"gzip", "deflate"} {
			if got, _ := through(t, encoding, "text/html", "", text); got != plain {
				t.Errorf("%q:\n%q, in %s\n%q", text, plain, encoding, got)
			}
		}
		if !strings.Contains(text, "<") && plain != text {
			t.Errorf("%q became %q", text, plain)
		}
	})
}
