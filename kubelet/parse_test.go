package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestExpand(t *testing.T) {
	env := func(n string) (string, bool) { v, ok := map[string]string{"A": "1", "B": "$(A)"}[n]; return v, ok }
	for in, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$(B)": "$(A)", "$(C)": "$(C)", "$$(A)": "$(A)",
		"$$$(A)": "$1", "$": "$", "$$": "$", "$A": "$A", "$(A": "$(A", "$()": "$()", "100%$": "100%$",
	} {
		if got := expand(in, env); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$(A)", "$$(A)", "$(", "$$$(A)$", "a$(B)c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		none := func(string) (string, bool) { return "", false }
		got := expand(s, none)
		if strings.Count(s, "$$") == 0 && got != s {
			t.Errorf("expand(%q) without variables is %q", s, got)
		}
		if len(got) > len(s) {
			t.Errorf("expand(%q) grew to %q", s, got)
		}
	})
}

func FuzzParseLogLine(f *testing.F) {
	for _, s := range []string{"2026-01-02T15:04:05.000000001Z stdout F hello", "2026-01-02T15:04:05Z stderr P ", "", "x", "2026-01-02T15:04:05Z stdout F"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLogLine(b)
		if err != nil {
			return
		}
		if l.Stream != "stdout" && l.Stream != "stderr" {
			t.Errorf("%q has stream %q", b, l.Stream)
		}
		if !bytes.Contains(b, l.Text) {
			t.Errorf("%q has text %q", b, l.Text)
		}
	})
}

// TestLogRoundTrip writes any output, in any rotation, and reads it back.
func TestLogRoundTrip(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n, ".log"))
		lines := rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,40}`), 0, 50).Draw(t, "lines")
		if rapid.Bool().Draw(t, "long") {
			lines = append(lines, strings.Repeat("x", 3*logPartial+5))
		}
		w, err := OpenLogWriter(path, int64(rapid.IntRange(4000, 100000).Draw(t, "size")), 10000)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(lines, "\n")
		if len(lines) > 0 {
			text += "\n"
		}
		if err := w.Copy("stdout", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := ReadLog(context.Background(), path, LogOptions{}, &got); err != nil || got.String() != text {
			t.Fatalf("read %q, %v, want %q", got.String(), err, text)
		}
		tail := int64(rapid.IntRange(0, 60).Draw(t, "tail"))
		got.Reset()
		want := lines[max(0, len(lines)-int(tail)):]
		if err := ReadLog(context.Background(), path, LogOptions{Tail: &tail}, &got); err != nil || strings.Count(got.String(), "\n") != len(want) ||
			len(want) > 0 && got.String() != strings.Join(want, "\n")+"\n" {
			t.Fatalf("the last %d lines are %.300q, %v, want %.300q", tail, got.String(), err, want)
		}
	})
}

func TestFollowLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w, err := OpenLogWriter(path, 300, 3)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var got bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- ReadLog(context.Background(), path, LogOptions{Follow: true, Timestamps: true, Ended: func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}}, &got)
	}()
	for i := range 5 {
		if err := w.Copy("stderr", strings.NewReader(fmt.Sprintf("line %d\n", i))); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * logPoll)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	close(ended)
	if err := <-done; err != nil || strings.Count(got.String(), "\n") != 5 || !strings.Contains(got.String(), "Z line 4\n") {
		t.Errorf("followed %q, %v", got.String(), err)
	}
}

func TestAtomicWrites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "v")
	read := func(name string) string { b, _ := os.ReadFile(filepath.Join(dir, name)); return string(b) }
	changed, err := writeAtomic(dir, payload{"a": {[]byte("1"), 0o644}, "sub/b": {[]byte("2"), 0o400}})
	if err != nil || !changed || read("a") != "1" || read("sub/b") != "2" {
		t.Fatalf("%v %v %q %q", changed, err, read("a"), read("sub/b"))
	}
	if changed, err = writeAtomic(dir, payload{"a": {[]byte("1"), 0o644}, "sub/b": {[]byte("2"), 0o400}}); err != nil || changed {
		t.Errorf("the same again: %v %v", changed, err)
	}
	if changed, err = writeAtomic(dir, payload{"a": {[]byte("3"), 0o644}}); err != nil || !changed || read("a") != "3" || read("sub/b") != "" {
		t.Errorf("%v %v %q %q", changed, err, read("a"), read("sub/b"))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 { // a, ..data, and what it leads to
		t.Errorf("left: %v, %v", entries, err)
	}
	for _, bad := range []string{"../x", "/x", "a/../../x", "..data", ""} {
		if _, err := writeAtomic(dir, payload{bad: {nil, 0o644}}); err == nil {
			t.Errorf("path %q was written", bad)
		}
	}
}

func TestSubPathStaysInTheVolume(t *testing.T) {
	base := t.TempDir()
	vol := filepath.Join(base, "vol")
	if err := os.MkdirAll(filepath.Join(vol, "ok"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, filepath.Join(vol, "out")); err != nil {
		t.Fatal(err)
	}
	v := &volumes{dir: base}
	for sub, good := range map[string]bool{"ok": true, "new/deep": true, "out": false, "out/x": false, "../x": false, "/etc": false} {
		got, err := v.subPath(vol, sub, filepath.Join(base, "target"))
		if (err == nil) != good {
			t.Errorf("subPath %q: %q, %v", sub, got, err)
		}
	}
}
