package store

import (
	"errors"
	"strings"
	"testing"
)

func then(ops ...Op) Op { return OpTxn(Txn{Then: ops}) }

// A branch changes no key twice, however deep.
func TestDuplicateKeys(t *testing.T) {
	put, del := OpPut("k", nil), OpDeletePrefix("k")
	either := OpTxn(Txn{Then: []Op{put}, Else: []Op{put}})
	for name, test := range map[string]struct {
		ops []Op
		bad string
	}{
		"once":                        {[]Op{put, OpPut("j", nil)}, ""},
		"twice":                       {[]Op{put, put}, "two puts"},
		"deletions may overlap":       {[]Op{del, OpDelete("k"), then(del)}, ""},
		"gets do not count":           {[]Op{put, OpGet("k"), then(OpGetPrefix("k"))}, ""},
		"put after nested put":        {[]Op{then(put), put}, "two puts"},
		"put before nested put":       {[]Op{put, then(then(put))}, "two puts"},
		"two nested":                  {[]Op{then(put), then(put)}, "two puts"},
		"either branch":               {[]Op{either}, ""},
		"either branch, and after it": {[]Op{either, put}, "two puts"},
		"put or deletion":             {[]Op{OpTxn(Txn{Then: []Op{put}, Else: []Op{del}})}, ""},
		"deletion, then nested put":   {[]Op{then(del), then(put)}, "put and deletion"},
		"nested put, then deletion":   {[]Op{then(put), then(del)}, "put and deletion"},
		"within one nested":           {[]Op{then(put, OpPut("j", nil), del)}, "put and deletion"},
		"to the end":                  {[]Op{then(put), {Type: TypeDelete, Key: "j", End: toEnd}}, "put and deletion"},
		"just outside":                {[]Op{put, {Type: TypeDelete, Key: "a", End: "k"}, OpDeletePrefix("k/")}, ""},
	} {
		for _, txn := range []Txn{{Then: test.ops}, {Else: test.ops}, {Then: []Op{OpTxn(Txn{Else: test.ops})}}} {
			err := txn.validate()
			if (err == nil) != (test.bad == "") || (err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.bad))) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestInvalidOps(t *testing.T) {
	deep := OpGet("k")
	for range maxTxnDepth {
		deep = then(deep)
	}
	for name, op := range map[string]Op{
		"nested too deep":           deep,
		"no nested transaction":     {Type: TypeTxn},
		"nested and key":            {Type: TypeTxn, Key: "k", Txn: &Txn{}},
		"put and nested":            {Key: "k", Txn: &Txn{}},
		"nested put without a key":  then(Op{}),
		"get with a lease":          {Type: TypeGet, Key: "k", Lease: 1},
		"deletion with a limit":     {Type: TypeDelete, Key: "k", Limit: 1},
		"keep the value and have":   {Key: "k", KeepValue: true, Value: []byte("v")},
		"keep the lease and have":   {Key: "k", KeepLease: true, Lease: 1},
		"delete and keep":           {Type: TypeDelete, Key: "k", KeepValue: true},
		"nested: no key to compare": OpTxn(Txn{If: []Compare{{}}}),
	} {
		txn := Txn{Then: []Op{op}}
		if err := txn.validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if txn := (Txn{Then: []Op{deep.Txn.Then[0]}}); txn.validate() != nil {
		t.Error("one level less is allowed")
	}
}

// Conditions on ranges hold for every key, or for one that does not exist.
func TestCompareRange(t *testing.T) {
	s, err := Open(Config{MaxTxnOps: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, key := range []string{"a/1", "a/2", "b"} { // revisions 2 to 4
		if _, err := s.Txn(t.Context(), Txn{Then: []Op{OpPut(key, []byte("v"))}}); err != nil {
			t.Fatal(err)
		}
	}
	a := Compare{Key: "a/", End: "a0"}
	for _, test := range []struct {
		c    Compare
		want bool
	}{
		{Compare{Key: a.Key, End: a.End, Target: TargetModRevision, Result: Less, Number: 4}, true},
		{Compare{Key: a.Key, End: a.End, Target: TargetModRevision, Result: Less, Number: 3}, false},
		{Compare{Key: a.Key, End: toEnd, Target: TargetModRevision, Result: Less, Number: 4}, false},
		{Compare{Key: a.Key, End: a.End, Target: TargetValue, Value: []byte("v")}, true},
		{Compare{Key: "x", End: "y", Target: TargetValue, Result: NotEqual, Value: []byte("v")}, false},
		{Compare{Key: "x", Target: TargetValue}, false},
		{Compare{Key: "x", End: "y", Target: TargetVersion}, true},
		{Compare{Key: "x", End: "y", Target: TargetVersion, Result: Greater}, false},
		{Compare{End: toEnd, Target: TargetLease}, true},
		{IfLease("a/1", 1), false},
		{IfValue("b", []byte("v")), true},
	} {
		res, err := s.Txn(t.Context(), Txn{If: []Compare{test.c}, Then: []Op{OpGet("a")}})
		if err != nil || res.Succeeded != test.want {
			t.Errorf("%+v: %v, %v", test.c, res.Succeeded, err)
		}
	}
	many := Txn{If: []Compare{IfMissing("x")}, Then: []Op{then(OpGet("a"), OpGet("b"))}}
	if _, err := s.Txn(t.Context(), many); !errors.Is(err, ErrTooLarge) {
		t.Errorf("4 conditions and operations: %v", err)
	}
}

// Nested conditions are asked of the state before the transaction, nested reads see what came before.
func TestNestedOrder(t *testing.T) {
	s, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Txn(t.Context(), Txn{Then: []Op{
		OpPut("a", []byte("1")),
		OpTxn(Txn{
			If:   []Compare{IfMissing("a")},
			Then: []Op{OpGet("a"), OpTxn(Txn{If: []Compare{IfExists("b")}, Else: []Op{OpPut("b", nil)}})},
		}),
		OpTxn(Txn{If: []Compare{IfExists("b")}, Then: []Op{OpPut("c", nil)}, Else: []Op{OpGetPrefix("")}}),
	}})
	if err != nil || res.Revision != 2 {
		t.Fatal(res, err)
	}
	first, second := res.Results[1].Txn, res.Results[2].Txn
	if !first.Succeeded || string(first.Results[0].Entries[0].Value) != "1" || first.Revision != 2 ||
		first.Results[1].Txn.Succeeded || first.Results[1].Txn.Revision != 2 {
		t.Errorf("%+v", first)
	}
	if second.Succeeded || second.Results[0].Count != 2 {
		t.Errorf("%+v", second)
	}
}

func TestCommandID(t *testing.T) {
	a, ok := CommandID(encodeBatch([]*proposal{{request: request{kind: requestRevoke, id: 1}}}, proposalID{1, 2}))
	same, _ := CommandID(encodeBatch([]*proposal{{request: request{kind: requestRevoke, id: 9}}}, proposalID{1, 2}))
	other, _ := CommandID(encodeBatch([]*proposal{{request: request{kind: requestRevoke, id: 1}}}, proposalID{1, 3}))
	if want := [16]byte{0: 1, 8: 2}; !ok || a != want || a != same || a == other {
		t.Error(a, same, other)
	}
	if _, ok := CommandID([]byte("no command")); ok {
		t.Error("an id of what is none")
	}
}
