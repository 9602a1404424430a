package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// history10 is a store with leases, nested transactions and revisions in the middle of a command.
func history10(t testing.TB, cfg Config) *Store {
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.changeAll(t.Context(), []request{
		{kind: requestGrant, id: 3, ttl: minTTL * 3600},
		{kind: requestGrant, id: -2, ttl: minTTL * 3600},
		{kind: requestTxn, txn: &Txn{Then: []Op{{Type: TypePut, Key: "a", Value: []byte("1"), Lease: 3}, OpPut("a/b", nil)}}},
		{kind: requestTxn, txn: &Txn{Then: []Op{{Type: TypePut, Key: "c", Value: []byte("2"), Lease: -2}}}},
		{kind: requestTxn, txn: &Txn{Then: []Op{{Type: TypePut, Key: "a", Value: []byte("3"), KeepLease: true}, OpDelete("a/b")}}},
		{kind: requestTxn, txn: &Txn{Then: []Op{OpPut("d", make([]byte, 300))}}},
		{kind: requestRevoke, id: -2},
	})
	for i := range 5 {
		s.changeAll(t.Context(), []request{{kind: requestTxn, txn: &Txn{Then: []Op{OpPut("e", []byte{byte(i)})}}}})
	}
	return s
}

func snapshotOf(s *Store) Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := Snapshot{machine: s.machine}
	state.base, state.records = s.history.window()
	return state
}

func written(t testing.TB, s Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatal(n, err)
	}
	return b.Bytes()
}

// show is all that a snapshot says, in words.
func show(s Snapshot) string {
	out := fmt.Sprintln(s.machine.rev, s.machine.compacted, s.machine.bytes, s.machine.granted, s.machine.tenure)
	s.machine.leases.each(func(l *lease) bool {
		out += fmt.Sprintln("lease", l.id, l.ttl, l.serial)
		l.eachKey(func(key string) bool {
			out += fmt.Sprintf("  %q\n", key)
			return true
		})
		return true
	})
	entry := func(e *Entry) bool {
		out += fmt.Sprintf("%q %x %d %d %d %d\n", e.Key, e.Value, e.CreateRevision, e.ModRevision, e.Version, e.Lease)
		return true
	}
	s.machine.tree.view().scan("", toEnd, entry)
	out += fmt.Sprintln("from", s.base.rev)
	s.base.tree.view().scan("", toEnd, entry)
	for _, r := range s.records {
		out += fmt.Sprintln("revision", r.rev, r.size)
		for _, ev := range r.events {
			out += fmt.Sprint(ev.Type, " ")
			entry(ev.Entry)
			if ev.Prev != nil {
				out += "  was "
				entry(ev.Prev)
			}
		}
	}
	return out
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, cfg := range []Config{{}, {HistoryRevisions: 6}, {HistoryRevisions: 1}} {
		want := snapshotOf(history10(t, cfg))
		b := written(t, want)
		got, err := readSnapshot(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if show(got) != show(want) {
			t.Errorf("\n got %s\nwant %s", show(got), show(want))
		}
		if !bytes.Equal(written(t, got), b) {
			t.Error("the second one differs")
		}
	}
}

// The past can be read and watched after a restart, also where no command ended.
func TestHistorySurvives(t *testing.T) {
	old := history10(t, Config{})
	restored, err := OpenReplica(Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if err := restored.Restore(bytes.NewReader(written(t, snapshotOf(old)))); err != nil {
		t.Fatal(err)
	}
	for rev := int64(1); rev <= old.Revision(); rev++ {
		want, err1 := old.Range(t.Context(), Range{Key: "", End: toEnd, Revision: rev})
		got, err2 := restored.Store().Range(t.Context(), Range{Key: "", End: toEnd, Revision: rev})
		if err1 != nil || err2 != nil || len(want.Entries) != len(got.Entries) {
			t.Fatal(rev, err1, err2)
		}
		for i, e := range want.Entries {
			if !reflect.DeepEqual(e, got.Entries[i]) {
				t.Errorf("revision %d: %+v, want %+v", rev, got.Entries[i], e)
			}
		}
	}
	w, err := restored.Store().Watch(WatchConfig{End: toEnd, Revision: 2})
	if err != nil {
		t.Fatal(err)
	}
	for rev := int64(2); rev <= old.Revision(); rev++ {
		if b, err := w.Next(t.Context()); err != nil || b.Revision != rev {
			t.Fatal(b, err)
		}
	}
}

// A watcher of a replica that lagged behind sees through the snapshot without a gap; one that needs more
// than the snapshot has is told so.
func TestWatchAcrossRestore(t *testing.T) {
	for name, test := range map[string]struct {
		oldest int64
		lost   bool
	}{"kept": {2, false}, "lost": {5, true}} {
		source := history10(t, Config{HistoryRevisions: int(history10(t, Config{}).Revision() - test.oldest)})
		r, err := OpenReplica(Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		first := request{kind: requestTxn, txn: &Txn{Then: []Op{OpPut("a", nil)}}}
		if err := r.Apply(encodeBatch([]*proposal{{request: first}}, proposalID{1, 1})); err != nil {
			t.Fatal(err)
		}
		for _, cfg := range []WatchConfig{{End: toEnd}, {Key: "e"}, {Key: "a", End: "f"}, {Key: "e", Revision: 99}} {
			w, err := r.Store().Watch(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			defer func() {
				if cfg.Revision == 99 {
					if w.first != 0 {
						t.Error("a watch of the future was woken")
					}
					return
				}
				var seen []int64
				for w.Progress() < source.Revision() {
					b, err := w.Next(t.Context())
					if errors.Is(err, ErrCompacted) != test.lost || (err != nil && !test.lost) {
						t.Errorf("%s %+v: %v", name, cfg, err)
					}
					if err != nil {
						return
					}
					seen = append(seen, b.Revision)
				}
				want := []int64{3, 4, 5, 6, 7, 8, 9, 10, 11}
				if cfg.Key == "e" {
					want = want[4:]
				}
				if !slices.Equal(seen, want) {
					t.Errorf("%s %+v: saw %v, want %v", name, cfg, seen, want)
				}
			}()
		}
		if err := r.Restore(bytes.NewReader(written(t, snapshotOf(source)))); err != nil {
			t.Fatal(err)
		}
	}
}

// No flipped bit and no missing byte of a snapshot or a backup goes unnoticed.
func TestDamagedSnapshot(t *testing.T) {
	b := written(t, snapshotOf(history10(t, Config{})))
	for i := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := readSnapshot(bytes.NewReader(bad)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range b {
		if _, err := VerifyBackup(bytes.NewReader(b[:n])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	old := bytes.Clone(b)
	old[len(snapshotMagic)-1] = 1
	if _, err := readSnapshot(bytes.NewReader(old)); err == nil || !strings.Contains(err.Error(), "format is 1") {
		t.Error(err)
	}
}

// framed makes one block of a payload, with the right checksum.
func framed(payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(snapshotMagic), uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	return append(b, payload...)
}

// What is read is a state that is written and read again as the same; all else is ErrCorrupt. The fuzzer
// makes the payload, since nobody guesses a checksum.
func FuzzReadSnapshot(f *testing.F) {
	seed := func(b []byte) { f.Add(b[len(snapshotMagic)+8:]) }
	seed(written(f, snapshotOf(history10(f, Config{}))))
	seed(written(f, snapshotOf(history10(f, Config{HistoryRevisions: 3}))))
	seed(written(f, Snapshot{machine: newMachine()}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := readSnapshot(bytes.NewReader(framed(payload)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := readSnapshot(bytes.NewReader(written(t, got)))
		if err != nil || show(again) != show(got) {
			t.Fatalf("%s\nbecame, %v,\n%s", show(got), err, show(again))
		}
	})
}

// The fuzzer makes all of the file.
func FuzzVerifyBackup(f *testing.F) {
	b := written(f, snapshotOf(history10(f, Config{})))
	f.Add(b)
	f.Add(append(bytes.Clone(b), make([]byte, 600)...))
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := VerifyBackup(bytes.NewReader(b))
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		s, err2 := OpenBackup(Config{}, bytes.NewReader(b))
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v, but %v", err, err2)
		}
		if err == nil {
			if info.Revision != s.Revision() || info.Bytes > int64(len(b)) {
				t.Errorf("%+v", info)
			}
			_ = s.Close()
		}
	})
}

// Whatever was applied, a replica that decodes the same commands has the same snapshot, byte by byte, and the
// snapshot is read as what it was.
func TestAnySnapshot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := Config{HistoryRevisions: rapid.IntRange(1, 10).Draw(rt, "history")}
		s, err := Open(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		follower, err := OpenReplica(cfg, nil)
		if err != nil {
			rt.Fatal(err)
		}
		defer follower.Close()
		key := rapid.StringMatching("[ab]{1,2}")
		for range rapid.IntRange(0, 12).Draw(rt, "commands") {
			var list []request
			for range rapid.IntRange(1, 3).Draw(rt, "requests") {
				id := LeaseID(rapid.IntRange(1, 3).Draw(rt, "id"))
				put := OpPut(key.Draw(rt, "key"), []byte(key.Draw(rt, "value")))
				put.Lease = LeaseID(rapid.IntRange(0, 3).Draw(rt, "lease"))
				keep := Op{Type: TypePut, Key: key.Draw(rt, "kept"), KeepValue: rapid.Bool().Draw(rt, "value"), KeepLease: true}
				list = append(list, rapid.SampledFrom([]request{
					{kind: requestTxn, txn: &Txn{Then: []Op{keep, OpTxn(Txn{If: []Compare{IfExists("a")}, Then: []Op{put}})}}},
					{kind: requestGrant, id: id, ttl: minTTL * 1000},
					{kind: requestRevoke, id: id},
					{kind: requestTxn, txn: &Txn{Then: []Op{put}}},
					{kind: requestTxn, txn: &Txn{Then: []Op{OpDeletePrefix(put.Key)}}},
					{kind: requestCompact, rev: s.Revision()},
				}).Draw(rt, "request"))
			}
			list = slices.DeleteFunc(list, func(q request) bool { return q.kind == requestTxn && q.txn.validate() != nil })
			s.changeAll(t.Context(), list)
			var batch []*proposal
			for _, q := range list {
				batch = append(batch, &proposal{request: q})
			}
			if err := follower.Apply(encodeBatch(batch, proposalID{1, 1})); err != nil {
				rt.Fatal(err)
			}
		}
		want := snapshotOf(s)
		if !bytes.Equal(written(t, follower.Snapshot()), written(t, want)) {
			rt.Fatal("the replicas differ")
		}
		got, err := readSnapshot(bytes.NewReader(written(t, want)))
		if err != nil || show(got) != show(want) {
			rt.Fatalf("%v\n got %s\nwant %s", err, show(got), show(want))
		}
	})
}
