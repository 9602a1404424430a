package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/inboard/inboard/store"
)

// What a client did to one key, and what came out.
type (
	input struct {
		key     string
		get     bool
		value   string
		ifValue string // a put happens only if this is the value; "*" always
	}
	output struct {
		value string
		ok    bool
	}
)

// register is the model: one value per key, each key on its own.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(input).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		i, o := in.(input), out.(output)
		switch {
		case i.get:
			return o.value == state, state
		case i.ifValue == "*" || i.ifValue == state:
			return o.ok, i.value
		}
		return !o.ok, state
	},
}

// testLinearizable records what concurrent clients see and has Porcupine find an order that explains
// it (https://github.com/anishathalye/porcupine).
func testLinearizable(t *testing.T, s Store) {
	const clients, each = 8, 100
	var mu sync.Mutex
	var history []porcupine.Operation
	start := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range each {
				in := randomInput(c, n)
				op := porcupine.Operation{ClientId: c, Input: in, Call: int64(time.Since(start))}
				out, err := perform(t, s, in)
				if err != nil {
					t.Error(err)
					return
				}
				op.Output, op.Return = out, int64(time.Since(start))
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if res := porcupine.CheckOperationsTimeout(register, history, 20*time.Second); res != porcupine.Ok {
		t.Errorf("history of %d operations: %s", len(history), res)
	}
}

func randomInput(client, n int) input {
	in := input{key: fmt.Sprintf("k%d", rand.IntN(3)), value: fmt.Sprintf("%d-%d", client, n), ifValue: "*"}
	switch rand.IntN(3) {
	case 0:
		in.get = true
	case 1:
		in.ifValue = fmt.Sprintf("%d-%d", rand.IntN(8), max(0, n-rand.IntN(3)))
	}
	return in
}

func perform(t *testing.T, s Store, in input) (output, error) {
	if in.get {
		e, _, err := get(t.Context(), s, in.key)
		if err != nil || e == nil {
			return output{}, err
		}
		return output{value: string(e.Value)}, nil
	}
	txn := store.Txn{Then: []store.Op{store.OpPut(in.key, []byte(in.value))}}
	if in.ifValue != "*" {
		txn.If = []store.Compare{{Key: in.key, Target: store.TargetValue, Value: []byte(in.ifValue)}}
	}
	res, err := s.Txn(t.Context(), txn)
	return output{ok: res.Succeeded}, err
}
