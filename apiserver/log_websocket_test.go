package apiserver_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

// logSocket asks for a log in the messages of a WebSocket.
func logSocket(t *testing.T, server string, protocols ...string) (*websocket.Conn, error) {
	t.Helper()
	cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(server, "http")+"/api/v1/namespaces/default/pods/p/log?container=good", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Protocol = protocols
	cfg.Header = http.Header{"Authorization": {"Bearer admin"}}
	return websocket.DialConfig(cfg)
}

// TestLogOverWebSocket: a log comes in messages, as it is or in base64, and then the socket is closed.
func TestLogOverWebSocket(t *testing.T) {
	front := connectServer(t)
	for _, tc := range []struct {
		protocols []string
		want      string
	}{
		{nil, `GET /containerLogs/default/p/good auth=""`},
		{[]string{"binary.k8s.io"}, `GET /containerLogs/default/p/good auth=""`},
		{[]string{"other", "base64.binary.k8s.io", "binary.k8s.io"}, "R0VUIC9jb250YWluZXJMb2dzL2RlZmF1bHQvcC9nb29kIGF1dGg9IiI="},
	} {
		ws, err := logSocket(t, front.URL, tc.protocols...)
		if err != nil {
			t.Fatalf("%v: %v", tc.protocols, err)
		}
		got, first := "", true
		for {
			var message []byte
			err := websocket.Message.Receive(ws, &message)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v: %v", tc.protocols, err)
			}
			if first && len(message) > 0 {
				t.Errorf("%v: the first message is %q", tc.protocols, message)
			}
			got, first = got+string(message), false
		}
		if got != tc.want {
			t.Errorf("%v: %q, want %q", tc.protocols, got, tc.want)
		}
		_ = ws.Close()
	}
	if _, err := logSocket(t, front.URL, "channel.k8s.io"); err == nil {
		t.Error("a protocol that there is not was accepted")
	}
}
