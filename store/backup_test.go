package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inboard/inboard/store"
)

func backup(t testing.TB, s *store.Store) ([]byte, store.BackupInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := s.Backup(t.Context(), &b)
	if err != nil || info.Bytes != int64(b.Len()) {
		t.Fatal(info, err)
	}
	return b.Bytes(), info
}

func TestBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Config{})
		grant(t, s, 7, 10*time.Second)
		putLeased(t, s, "leased", 7)
		put(t, s, "k", "v1")
		put(t, s, "k", "v2")
		b, info := backup(t, s)
		put(t, s, "k", "after")
		if info.Revision != 4 || info.Keys != 2 || info.Leases != 1 {
			t.Errorf("%+v", info)
		}
		if got, err := store.VerifyBackup(bytes.NewReader(b)); err != nil || got != info {
			t.Errorf("%+v, %v", got, err)
		}
		time.Sleep(time.Minute) // nobody's time while it is a file
		again, err := store.OpenBackup(store.Config{}, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		e, rev, err := again.Get(t.Context(), "k")
		if err != nil || rev != 4 || string(e.Value) != "v2" || e.Version != 2 || e.CreateRevision != 3 {
			t.Errorf("%+v %d %v", e, rev, err)
		}
		lease, err := again.Lease(t.Context(), 7)
		if err != nil || lease.Remaining != 10*time.Second || !slices.Equal(lease.Keys, []string{"leased"}) {
			t.Errorf("%+v %v", lease, err)
		}
		if _, err := again.Range(t.Context(), store.Range{Key: "k", Revision: 3}); !errors.Is(err, store.ErrCompacted) {
			t.Error(err)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if exists(t, again, "leased") || put(t, again, "k", "v3") != 6 {
			t.Error("the lease does not expire, or the revisions do not go on")
		}
	})
}

// Every byte counts, and what may follow a backup is only what etcd's protocol adds.
func TestDamagedBackup(t *testing.T) {
	s := open(t, store.Config{})
	grant(t, s, 7, time.Hour)
	putLeased(t, s, "leased", 7)
	b, _ := backup(t, s)
	padded := append(slices.Clone(b), make([]byte, 512-len(b)%512)...)
	sum := sha256.Sum256(padded)
	summed := append(slices.Clone(padded), sum[:]...)
	for name, good := range map[string][]byte{"plain": b, "padded": padded, "with a sum": summed} {
		if info, err := store.VerifyBackup(bytes.NewReader(good)); err != nil || info.Bytes != int64(len(b)) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	for i := range summed {
		for _, bit := range []byte{1, 0x80, 0xff} {
			bad := slices.Clone(summed)
			bad[i] ^= bit
			if _, err := store.VerifyBackup(bytes.NewReader(bad)); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("byte %d: %v", i, err)
			}
			if _, err := store.OpenBackup(store.Config{}, bytes.NewReader(bad)); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	if _, err := store.VerifyBackup(bytes.NewReader(append(slices.Clone(b), 'x'))); !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left -= len(b); d.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// A backup that cannot be written says so, whenever it is.
func TestBackupFails(t *testing.T) {
	s := open(t, store.Config{})
	for i := range 100 {
		put(t, s, fmt.Sprint(i), string(make([]byte, 10_000)))
	}
	if _, err := s.Backup(t.Context(), &fullDisk{left: 500_000}); !errors.Is(err, errFull) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	go func() {
		_, _ = io.ReadFull(from, make([]byte, 100_000))
		cancel()
		_, _ = io.Copy(io.Discard, from)
	}()
	if _, err := s.Backup(ctx, to); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = to.Close()
}

// A backup is not held in memory, nor does it keep anybody from writing.
func TestBackupStreams(t *testing.T) {
	s := open(t, store.Config{HistoryRevisions: 1})
	for i := range 2000 {
		put(t, s, fmt.Sprint(i), string(make([]byte, 10_000)))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := writerFunc(func(b []byte) (int, error) {
		put(t, s, "meanwhile", "x")
		return len(b), nil
	})
	info, err := s.Backup(t.Context(), w)
	runtime.ReadMemStats(&after)
	if err != nil || info.Bytes < 20_000_000 || info.Keys != 2000 {
		t.Errorf("%+v, %v", info, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 5<<20 {
		t.Errorf("it allocated %d bytes", used)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// BenchmarkOpenBackup opens a store of 1,000,000 keys.
func BenchmarkOpenBackup(b *testing.B) {
	const keys = 1_000_000
	s := openBench(b, store.Config{HistoryRevisions: 1})
	for i := range keys {
		benchPut(b, s, benchKey(i), make([]byte, 256))
	}
	var file bytes.Buffer
	if _, err := s.Backup(b.Context(), &file); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		again, err := store.OpenBackup(store.Config{}, bytes.NewReader(file.Bytes()))
		if err != nil || again.Revision() != s.Revision() {
			b.Fatal(err)
		}
		_ = again.Close()
	}
}
