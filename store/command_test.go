package store

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawTxn(t *rapid.T, depth int) Txn {
	key := rapid.StringN(1, 8, -1)
	value := rapid.Custom(func(t *rapid.T) []byte {
		// As decoded: nil when empty.
		return append([]byte(nil), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")...)
	})
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Op {
		op := Op{Type: OpType(rapid.IntRange(0, 3).Draw(t, "type"))}
		if op.Type == TypeTxn {
			nested := Txn{}
			if depth < 3 {
				nested = drawTxn(t, depth+1)
			}
			op.Txn = &nested
			return op
		}
		op.Key = key.Draw(t, "key")
		if op.Type == TypePut {
			if op.KeepValue = rapid.Bool().Draw(t, "keep value"); !op.KeepValue {
				op.Value = value.Draw(t, "value")
			}
			if op.KeepLease = rapid.Bool().Draw(t, "keep lease"); !op.KeepLease {
				op.Lease = LeaseID(rapid.Int64().Draw(t, "lease"))
			}
		} else {
			op.End = rapid.String().Draw(t, "end")
		}
		if op.Type == TypeGet {
			op.Limit = rapid.IntRange(0, 1<<40).Draw(t, "limit")
		}
		return op
	}), 0, 4/depth)
	txn := Txn{Then: ops.Draw(t, "then"), Else: ops.Draw(t, "else")}
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		c := Compare{Key: key.Draw(t, "key"), Result: CompareResult(rapid.IntRange(0, 3).Draw(t, "result"))}
		c.Target = CompareTarget(rapid.IntRange(0, 4).Draw(t, "target"))
		c.End = rapid.String().Draw(t, "end")
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
		batch := []*proposal{
			{request: request{kind: requestCompact, rev: rapid.Int64().Draw(t, "compact")}},
			{request: request{kind: requestGrant, id: LeaseID(rapid.Int64Min(1).Draw(t, "id")), ttl: minTTL}},
			{request: request{kind: requestRevoke, id: LeaseID(rapid.Int64().Draw(t, "id"))}},
			{request: request{kind: requestExpire, id: 7, serial: rapid.Uint64().Draw(t, "serial"), tenure: 3}},
			{request: request{kind: requestTenure, tenure: rapid.Uint64().Draw(t, "tenure")}},
		}
		for range rapid.IntRange(0, 4).Draw(t, "txns") {
			txn := drawTxn(t, 1)
			if txn.validate() != nil {
				t.Skip("a key changes twice")
			}
			batch = append(batch, txnProposal(&txn))
		}
		id := proposalID{rapid.Uint64().Draw(t, "replica"), rapid.Uint64().Draw(t, "number")}
		got, err := decodeCommand(encodeBatch(batch, id))
		if err != nil || got.id != id || len(got.requests) != len(batch) {
			t.Fatalf("%+v, %v", got, err)
		}
		for i, p := range batch {
			want := p.request
			if want.txn != nil {
				want.txn = normal(*want.txn)
			}
			if !reflect.DeepEqual(got.requests[i], want) {
				t.Fatalf("\n got %+v\nwant %+v", got.requests[i], want)
			}
		}
	})
}

func txnProposal(t *Txn) *proposal { return &proposal{request: request{kind: requestTxn, txn: t}} }

// normal has nil where a decoded transaction has.
func normal(t Txn) *Txn {
	for _, ops := range []*[]Op{&t.Then, &t.Else} {
		if *ops = slices.Clone(*ops); len(*ops) == 0 {
			*ops = nil
		}
		for i := range *ops {
			if op := &(*ops)[i]; op.Txn != nil {
				op.Txn = normal(*op.Txn)
			}
		}
	}
	return &t
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
		If: []Compare{IfMissing("a"), {Key: "b", End: "c", Target: TargetValue, Value: []byte("v")}},
		Then: []Op{
			OpPut("a", []byte("v")), OpDeletePrefix("b/"), {Type: TypeGet, Key: "c", End: "d", Limit: 3},
			OpTxn(Txn{If: []Compare{IfLease("x", 7)}, Then: []Op{{Type: TypePut, Key: "x", KeepValue: true, KeepLease: true}}}),
		},
		Else: []Op{{Type: TypePut, Key: "l", Lease: 7}},
	}
	f.Add(encodeBatch([]*proposal{txnProposal(&txn), txnProposal(&Txn{})}, proposalID{1, 2}))
	f.Add(encodeBatch([]*proposal{
		{request: request{kind: requestGrant, id: 7, ttl: minTTL}},
		txnProposal(&Txn{Then: []Op{{Type: TypePut, Key: "l", Lease: 7}}}),
		{request: request{kind: requestTenure, tenure: 4}},
		{request: request{kind: requestExpire, id: 7, serial: 1, tenure: 4}},
		{request: request{kind: requestRevoke, id: 7}},
		{request: request{kind: requestCompact, rev: 2}},
	}, proposalID{3, 4}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCommand(b)
		if err != nil {
			// Nobody guesses a checksum.
			if c, err = decodeCommand(appendTrailer(b)); err != nil {
				return
			}
		}
		s, err := Open(Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var batch []*proposal
		w := s.machine.begin()
		for i := range c.requests {
			_, _ = s.apply(&w, &c.requests[i])
			batch = append(batch, &proposal{request: c.requests[i]})
		}
		s.publish(w.commit())
		again, err := decodeCommand(encodeBatch(batch, c.id))
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}
