package raft

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger, q := slog.New(slog.NewTextHandler(&out, nil)), quiet{}
		for range 1000 {
			q.warn(logger, "refused", "from", "x")
			time.Sleep(5 * time.Millisecond)
		}
		if got := strings.Count(out.String(), "refused"); got != 5 {
			t.Errorf("%d warnings in five seconds", got)
		}
		if got := strings.Count(out.String(), "more=199"); got != 4 {
			t.Errorf("%d of them tell how many were not given:\n%s", got, &out)
		}
	})
}

func TestTrailing(t *testing.T) {
	var tr trailing
	for range trailingLogsCluster + 10 {
		tr.add(100)
	}
	tr.add(1000)
	for _, c := range []struct {
		bytes int64
		most  int
		want  uint64
	}{
		{999, 256, 1}, {1000, 256, 1}, {1099, 256, 1}, {1100, 256, 2}, {1 << 20, 256, 256}, {1 << 20, 512, 512}, {2000, 512, 11},
	} {
		if got := tr.within(c.bytes, c.most); got != c.want {
			t.Errorf("%d of %d are within %d bytes, want %d", got, c.most, c.bytes, c.want)
		}
	}
}
