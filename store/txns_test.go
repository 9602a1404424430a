package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/inboard/inboard/store"
)

// TestTxns runs several transactions with one wait: each has its own revision and its own outcome.
func TestTxns(t *testing.T) {
	s, err := store.Open(store.Config{MaxTxnOps: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out := s.Txns(t.Context(), []store.Txn{
		{Then: []store.Op{store.OpPut("a", []byte("1"))}},
		{If: []store.Compare{store.IfMissing("a")}, Then: []store.Op{store.OpPut("a", []byte("2"))}},
		{Then: []store.Op{store.OpPut("", nil)}},
		{Then: []store.Op{store.OpGet("a")}},
		{Then: []store.Op{store.OpPut("b", nil), store.OpPut("c", nil), store.OpPut("d", nil)}},
		{If: []store.Compare{{Key: "a", Target: store.TargetValue, Value: []byte("1")}}, Then: []store.Op{store.OpDelete("a")}},
	})
	var got []string
	for _, o := range out {
		word := "done"
		switch {
		case errors.Is(o.Err, store.ErrInvalid):
			word = "invalid"
		case errors.Is(o.Err, store.ErrTooLarge):
			word = "too large"
		case o.Err != nil:
			t.Error(o.Err)
		case !o.Succeeded:
			word = "no"
		}
		got = append(got, fmt.Sprint(word, " ", o.Revision))
	}
	if want := []string{"done 2", "no 2", "invalid 0", "done 2", "too large 0", "done 3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := s.Txns(ctx, make([]store.Txn, 1)); !errors.Is(out[0].Err, context.Canceled) {
		t.Error(out)
	}
}

// TestTxnsAsTxn: together, random transactions come to what they come to one after the other.
func TestTxnsAsTxn(t *testing.T) {
	var stores [2]*store.Store
	for i := range stores {
		var err error
		if stores[i], err = store.Open(store.Config{}); err != nil {
			t.Fatal(err)
		}
		defer stores[i].Close()
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		txns := make([]store.Txn, 1+rnd.IntN(8))
		for i := range txns {
			a, b := fmt.Sprint(rnd.IntN(4)), fmt.Sprint(rnd.IntN(4))
			txns[i] = store.Txn{If: []store.Compare{store.IfVersion(a, int64(rnd.IntN(3)))}, Then: []store.Op{store.OpPut(a, []byte(b))}, Else: []store.Op{store.OpDelete(b)}}
		}
		for i, o := range stores[0].Txns(t.Context(), txns) {
			res, err := stores[1].Txn(t.Context(), txns[i])
			if err != nil || o.Err != nil || res.Succeeded != o.Succeeded || res.Revision != o.Revision {
				t.Fatalf("%+v together, %+v, %v one after the other", o, res, err)
			}
		}
	}
}
