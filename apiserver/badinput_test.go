package apiserver_test

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestBadInput sends what is meant to hurt: each gets a 4xx, soon and without much memory.
func TestBadInput(t *testing.T) {
	s := newServer(t, asAdmin)
	deep := strings.Repeat(`{"a":`, 200_000)
	var aliases strings.Builder
	aliases.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		n, p := string(rune('a'+i)), string(rune('a'+i-1))
		if i == 1 {
			p = "a0"
		}
		aliases.WriteString(n + ": &" + n + " [" + strings.TrimSuffix(strings.Repeat("*"+p+", ", 10), ", ") + "]\n")
	}
	for _, tc := range []struct{ name, media, body string }{
		{"deep JSON", "application/json", deep},
		{"deep lists", "application/json", `{"metadata":{"annotations":` + strings.Repeat("[", 500_000)},
		{"YAML aliases", "application/yaml", aliases.String()},
		{"deep YAML", "application/yaml", "a: " + strings.Repeat("[", 100_000)},
		{"broken protobuf", "application/vnd.kubernetes.protobuf", "k8s\x00\xff\xff\xff\xff\xff\xff"},
		{"protobuf with a huge length", "application/vnd.kubernetes.protobuf", "k8s\x00\x12\xff\xff\xff\xff\x07"},
		{"a null", "application/json", "null"},
		{"two objects", "application/json", `{"metadata":{"name":"a"}}{"metadata":{"name":"b"}}`},
		{"not UTF-8", "application/json", "{\"metadata\":{\"name\":\"\xff\xfe\"}}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			w := do(s, "POST", "/api/v1/namespaces/default/configmaps", tc.body, "Content-Type", tc.media)
			runtime.ReadMemStats(&after)
			if w.Code < 400 || w.Code >= 500 {
				t.Errorf("%d %.300s", w.Code, w.Body)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
				t.Errorf("%d MB for %d bytes, in %s", used>>20, len(tc.body), time.Since(start))
			}
		})
	}
}
