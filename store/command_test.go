package store

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func drawTxn(t *rapid.T) Txn {
	key := rapid.StringN(1, 8, -1)
	value := rapid.Custom(func(t *rapid.T) []byte {
		// As decoded: nil when empty.
		return append([]byte(nil), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")...)
	})
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Op {
		op := Op{Type: OpType(rapid.IntRange(0, 2).Draw(t, "type")), Key: key.Draw(t, "key")}
		if op.Type == TypePut {
			op.Value, op.Lease = value.Draw(t, "value"), LeaseID(rapid.Int64().Draw(t, "lease"))
		} else {
			op.End = rapid.String().Draw(t, "end")
		}
		if op.Type == TypeGet {
			op.Limit = rapid.IntRange(0, 1<<40).Draw(t, "limit")
		}
		return op
	}), 0, 4)
	txn := Txn{Then: ops.Draw(t, "then"), Else: ops.Draw(t, "else")}
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		c := Compare{Key: key.Draw(t, "key"), Result: CompareResult(rapid.IntRange(0, 3).Draw(t, "result"))}
		c.Target = CompareTarget(rapid.IntRange(0, 4).Draw(t, "target"))
		if c.Target == TargetValue {
			c.Value = value.Draw(t, "value")
		} else {
			c.Number = rapid.Int64().Draw(t, "number")
		}
		txn.If = append(txn.If, c)
	}
	return txn
}

// A transaction comes out of a command as it went in: the replica that proposed it applies the
// original, the others the copy.
func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var batch []*proposal
		for range rapid.IntRange(1, 4).Draw(t, "txns") {
			txn := drawTxn(t)
			if txn.validate() != nil {
				t.Skip("a key changes twice")
			}
			batch = append(batch, &proposal{txn: &txn})
		}
		id := proposalID{rapid.Uint64().Draw(t, "replica"), rapid.Uint64().Draw(t, "number")}
		got, err := decodeCommand(encodeBatch(batch, id))
		if err != nil || got.id != id || len(got.txns) != len(batch) {
			t.Fatalf("%+v, %v", got, err)
		}
		for i, p := range batch {
			if want := normal(*p.txn); !reflect.DeepEqual(got.txns[i], want) {
				t.Fatalf("\n got %+v\nwant %+v", got.txns[i], want)
			}
		}
	})
}

// normal has nil where a decoded transaction has.
func normal(t Txn) Txn {
	if len(t.Then) == 0 {
		t.Then = nil
	}
	if len(t.Else) == 0 {
		t.Else = nil
	}
	return t
}

// applyAlone applies a transaction as a command of its own.
func applyAlone(m *machine, t *Txn) []*record {
	w := m.begin()
	_, _ = w.apply(t)
	return w.commit()
}

// Whatever is decoded can be applied, and encodes to something that decodes to the same.
func FuzzDecodeCommand(f *testing.F) {
	txn := Txn{
		If:   []Compare{IfMissing("a"), {Key: "b", Target: TargetValue, Value: []byte("v")}},
		Then: []Op{OpPut("a", []byte("v")), OpDeletePrefix("b/"), {Type: TypeGet, Key: "c", End: "d", Limit: 3}},
		Else: []Op{{Type: TypePut, Key: "l", Lease: 7}},
	}
	f.Add(encodeBatch([]*proposal{{txn: &txn}, {txn: &Txn{}}}, proposalID{1, 2}))
	f.Add(encodeBatch([]*proposal{{compact: 5}}, proposalID{3, 4}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCommand(b)
		if err != nil {
			// Nobody guesses a checksum.
			if c, err = decodeCommand(appendTrailer(b)); err != nil {
				return
			}
		}
		m := newMachine()
		var batch []*proposal
		for i := range c.txns {
			applyAlone(&m, &c.txns[i])
			batch = append(batch, &proposal{txn: &c.txns[i]})
		}
		if len(batch) == 0 {
			return
		}
		again, err := decodeCommand(encodeBatch(batch, c.id))
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

// A snapshot that is read is the one that was written; anything else is an error, not a state.
func FuzzReadSnapshot(f *testing.F) {
	m := newMachine()
	for _, key := range []string{"a", "a/b", "c"} {
		applyAlone(&m, &Txn{Then: []Op{{Type: TypePut, Key: key, Value: []byte("value of " + key), Lease: 3}}})
	}
	m.compacted = 2
	var full, empty bytes.Buffer
	_, _ = Snapshot{m}.WriteTo(&full)
	_, _ = Snapshot{newMachine()}.WriteTo(&empty)
	f.Add(full.Bytes())
	f.Add(empty.Bytes())
	f.Add(full.Bytes()[:full.Len()-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readSnapshot(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if _, err := (Snapshot{m}).WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		// The encoding may be longer than need be, but not mean something else.
		again, err := readSnapshot(&out)
		if err != nil || again.rev != m.rev || again.compacted != m.compacted || again.tree.len() != m.tree.len() {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

// No flipped bit and no missing byte of a snapshot goes unnoticed.
func TestDamagedSnapshot(t *testing.T) {
	m := newMachine()
	applyAlone(&m, &Txn{Then: []Op{OpPut("key", []byte("value")), OpPut("other", nil)}})
	var b bytes.Buffer
	if n, err := (Snapshot{m}).WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatal(n, err)
	}
	for i := range b.Len() * 8 {
		bad := bytes.Clone(b.Bytes())
		bad[i/8] ^= 1 << (i % 8)
		if _, err := readSnapshot(bytes.NewReader(bad)); err == nil {
			t.Errorf("bit %d flipped: no error", i)
		}
	}
	for n := range b.Len() {
		if _, err := readSnapshot(bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Errorf("cut at %d: no error", n)
		}
	}
}
