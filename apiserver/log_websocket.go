package apiserver

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/websocket"
)

// The protocols that logs are sent by: as they are, or for clients that only take text in base64. Who names no protocol
// gets the first.
const (
	protocolBinary = "binary.k8s.io"
	protocolBase64 = "base64.binary.k8s.io"
)

// isWebSocket tells that a client wants the answer in the messages of a WebSocket.
func isWebSocket(r *http.Request) bool {
	return r.ProtoMajor == 1 && isUpgrade(r) && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// hijacker finds the connection behind the writers that note what was answered.
type hijacker struct{ http.ResponseWriter }

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// sendMessages sends a stream over a WebSocket, each piece in a message as it comes, and calls cancel when the client
// goes. What the client sends is of no interest.
func (c *call) sendMessages(stream io.Reader, cancel func()) {
	w := hijacker{c.handOver()}
	c.code = http.StatusSwitchingProtocols
	websocket.Server{Handshake: chooseProtocol, Handler: func(ws *websocket.Conn) {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			defer cancel()
			_, _ = io.Copy(io.Discard, ws) // until the client goes, or Close below
		}()
		copyMessages(ws, stream)
		_ = ws.Close()
		<-gone
	}}.ServeHTTP(w, c.r)
}

// chooseProtocol takes the first of the client's protocols that there is.
func chooseProtocol(cfg *websocket.Config, _ *http.Request) error {
	if len(cfg.Protocol) == 0 {
		return nil
	}
	for _, p := range cfg.Protocol {
		if p == protocolBinary || p == protocolBase64 {
			cfg.Protocol = []string{p}
			return nil
		}
	}
	return fmt.Errorf("requested protocol(s) are not supported: %v; supports %v", cfg.Protocol, []string{"", protocolBase64, protocolBinary})
}

// copyMessages sends a stream until it ends or the client goes. The first message is empty, as kube-apiserver's is.
func copyMessages(ws *websocket.Conn, stream io.Reader) {
	text := slices.Contains(ws.Config().Protocol, protocolBase64)
	ws.PayloadType = websocket.BinaryFrame
	if text {
		ws.PayloadType = websocket.TextFrame
	}
	if _, err := ws.Write([]byte{}); err != nil {
		return
	}
	buf := make([]byte, 2048)
	for {
		n, err := stream.Read(buf)
		if n > 0 {
			piece := buf[:n]
			if text {
				piece = base64.StdEncoding.AppendEncode(nil, piece)
			}
			if _, err := ws.Write(piece); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
