package h2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/inboard/inboard/apiserver/internal/h2"
)

// peer speaks HTTP/2 frame by frame.
type peer struct {
	nc      net.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	decoder *hpack.Decoder
	done    chan struct{} // the server has given the connection up
}

func connect(t testing.TB, handler http.HandlerFunc, idle time.Duration) (*peer, *h2.Server) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := h2.New(h2.Config{Handler: handler, IdleTimeout: idle})
	p := &peer{nc: client, framer: http2.NewFramer(client, client), decoder: hpack.NewDecoder(4096, nil), done: make(chan struct{})}
	p.framer.AllowIllegalWrites = true
	p.encoder = hpack.NewEncoder(&p.block)
	go func() {
		defer close(p.done)
		s.ServeConn(context.Background(), server, &tls.ConnectionState{})
	}()
	t.Cleanup(func() {
		_ = client.Close()
		<-p.done
		s.Shutdown()
	})
	_ = client.SetDeadline(time.Now().Add(30 * time.Second))
	return p, s
}

// greet begins the connection and takes the server's greeting.
func (p *peer) greet(t testing.TB) {
	t.Helper()
	if _, err := io.WriteString(p.nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := p.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"SETTINGS", "WINDOW_UPDATE 0 +983041", "SETTINGS ack"} {
		if got := p.next(); !strings.HasPrefix(got, want) {
			t.Fatalf("the server greets with %q, want %q", got, want)
		}
	}
}

// next reads a frame and tells what it is.
func (p *peer) next() string {
	f, err := p.framer.ReadFrame()
	if err != nil {
		return "closed"
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack"
		}
		return "SETTINGS"
	case *http2.PingFrame:
		return fmt.Sprintf("PING ack=%t %s", f.IsAck(), f.Data)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY last=%d %s", f.LastStreamID, f.ErrCode)
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", f.StreamID, f.ErrCode)
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d +%d", f.StreamID, f.Increment)
	case *http2.DataFrame:
		return fmt.Sprintf("DATA %d end=%t %q", f.StreamID, f.StreamEnded(), shorten(f.Data()))
	case *http2.HeadersFrame:
		fields, err := p.decoder.DecodeFull(f.HeaderBlockFragment())
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("HEADERS %d end=%t %s", f.StreamID, f.StreamEnded(), fields[0].Value)
	}
	return f.Header().String()
}

func shorten(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	return string(b)
}

// do sends what a line of a script says.
func (p *peer) do(line string) error {
	words := strings.Fields(line)
	id := func(i int) uint32 {
		n, err := strconv.ParseUint(words[i], 0, 32)
		if err != nil {
			panic(err)
		}
		return uint32(n)
	}
	switch words[0] {
	case "headers": // headers ID [end] [part] [selfdep] name=value...
		return p.headers(id(1), words[2:])
	case "continuation": // continuation ID [part] name=value...
		p.block.Reset()
		end := true
		for _, w := range words[2:] {
			if w == "part" {
				end = false
			} else {
				p.field(w)
			}
		}
		return p.framer.WriteContinuation(id(1), end, p.block.Bytes())
	case "data": // data ID [end] TEXT, or *N for so many bytes
		end := words[2] == "end"
		text := words[len(words)-1]
		if n, ok := strings.CutPrefix(text, "*"); ok {
			size, _ := strconv.Atoi(n)
			text = strings.Repeat("x", size)
		}
		if text == "end" {
			text = ""
		}
		return p.framer.WriteData(id(1), end, []byte(text))
	case "padded": // padded ID end TEXT
		return p.framer.WriteDataPadded(id(1), true, []byte(words[3]), make([]byte, 7))
	case "ping":
		return p.framer.WritePing(false, [8]byte([]byte(words[1])))
	case "window":
		return p.framer.WriteWindowUpdate(id(1), id(2))
	case "reset":
		return p.framer.WriteRSTStream(id(1), http2.ErrCodeCancel)
	case "priority":
		return p.framer.WritePriority(id(1), http2.PriorityParam{StreamDep: id(2)})
	case "setting":
		return p.framer.WriteSettings(http2.Setting{ID: http2.SettingID(id(1)), Val: id(2)})
	case "goaway":
		return p.framer.WriteGoAway(0, http2.ErrCodeNo, nil)
	case "raw": // raw TYPE FLAGS ID TEXT
		text := ""
		if len(words) > 4 {
			text = words[4]
		}
		if n, ok := strings.CutPrefix(text, "*"); ok {
			size, _ := strconv.Atoi(n)
			text = strings.Repeat("\x00", size)
		}
		return p.framer.WriteRawFrame(http2.FrameType(id(1)), http2.Flags(id(2)), id(3), []byte(text))
	}
	panic("unknown: " + line)
}

func (p *peer) field(w string) {
	at := strings.Index(w[1:], "=") + 1
	_ = p.encoder.WriteField(hpack.HeaderField{Name: w[:at], Value: strings.ReplaceAll(w[at+1:], "\\n", "\n")})
}

func (p *peer) headers(id uint32, words []string) error {
	p.block.Reset()
	param := http2.HeadersFrameParam{StreamID: id, EndHeaders: true}
	for _, w := range words {
		switch w {
		case "end":
			param.EndStream = true
		case "part":
			param.EndHeaders = false
		case "get":
			for _, f := range []string{":method=GET", ":scheme=https", ":authority=host", ":path=/"} {
				p.field(f)
			}
		case "post":
			for _, f := range []string{":method=POST", ":scheme=https", ":authority=host", ":path=/"} {
				p.field(f)
			}
		default:
			p.field(w)
		}
	}
	param.BlockFragment = p.block.Bytes()
	return p.framer.WriteHeaders(param)
}

// echo answers with the body, and what is wrong with it.
func echo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		b = []byte(err.Error())
	}
	if r.URL.Path == "/wait" {
		<-r.Context().Done()
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(b)
}

// TestFrames runs the scripts in testdata/frames.txt: what a client sends, and which frames come back.
func TestFrames(t *testing.T) {
	text, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range strings.Split(string(text), "\n# ")[1:] {
		name, rest, _ := strings.Cut(script, "\n")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := connect(t, echo, 0)
			p.greet(t)
			for line := range strings.Lines(rest) {
				line = strings.TrimSpace(line)
				want, reads := strings.CutPrefix(line, "< ")
				switch {
				case line == "":
				case reads:
					if got := p.next(); got != want {
						t.Fatalf("got %q, want %q", got, want)
					}
				default:
					if err := p.do(line); err != nil {
						t.Fatalf("%s: %v", line, err)
					}
				}
			}
		})
	}
}
