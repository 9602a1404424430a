package storetest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/inboard/inboard/store"
)

// parseTxn reads a transaction, a line for each condition and operation:
//
//	if KEY|PREFIX* version|create|mod|lease|value =|!=|<|> X
//	put KEY VALUE               the value may have blanks
//	leased ID put KEY VALUE
//	touch KEY, leased ID touch KEY   a put that keeps the value
//	change KEY VALUE            a put that keeps the lease
//	delete KEY|PREFIX*
//	get KEY|PREFIX*
//	else                        begins the other branch
//	begin, end                  around a nested transaction
func parseTxn(text string) (store.Txn, error) {
	p := parser{lines: strings.Split(strings.TrimSpace(text), "\n")}
	t, err := p.txn()
	if err == nil && len(p.lines) > 0 {
		err = fmt.Errorf("%q behind the end", p.lines[0])
	}
	return t, err
}

type parser struct{ lines []string }

func (p *parser) txn() (t store.Txn, err error) {
	ops := &t.Then
	for len(p.lines) > 0 {
		f := strings.Fields(p.lines[0])
		p.lines = p.lines[1:]
		switch f[0] {
		case "if":
			t.If = append(t.If, condition(f[1:]))
			continue
		case "else":
			ops = &t.Else
			continue
		case "end":
			return t, nil
		case "begin":
			nested, err := p.txn()
			if err != nil {
				return t, err
			}
			*ops = append(*ops, store.Op{Type: store.TypeTxn, Txn: &nested})
			continue
		}
		op, err := operation(f)
		if err != nil {
			return t, err
		}
		*ops = append(*ops, op)
	}
	return t, nil
}

func operation(f []string) (store.Op, error) {
	var lease store.LeaseID
	if f[0] == "leased" {
		lease, f = leaseID(f[1]), f[2:]
	}
	var op store.Op
	switch f[0] {
	case "put", "touch", "change":
		op = store.OpPut(f[1], []byte(strings.Join(f[2:], " ")))
		op.Lease, op.KeepValue, op.KeepLease = lease, f[0] == "touch", f[0] == "change"
		return op, nil
	case "delete":
		op.Type = store.TypeDelete
	case "get":
		op.Type = store.TypeGet
	default:
		return op, fmt.Errorf("unknown operation %q", f)
	}
	op.Key, op.End = span(f[1])
	return op, nil
}

func condition(f []string) store.Compare {
	var c store.Compare
	c.Key, c.End = span(f[0])
	c.Target = map[string]store.CompareTarget{
		"version": store.TargetVersion, "create": store.TargetCreateRevision, "mod": store.TargetModRevision,
		"lease": store.TargetLease, "value": store.TargetValue,
	}[f[1]]
	c.Result = map[string]store.CompareResult{"=": store.Equal, "!=": store.NotEqual, "<": store.Less, ">": store.Greater}[f[2]]
	if c.Target == store.TargetValue {
		c.Value = []byte(f[3])
	} else {
		c.Number, _ = strconv.ParseInt(f[3], 10, 64)
	}
	return c
}

func leaseID(text string) store.LeaseID {
	n, _ := strconv.ParseInt(text, 10, 64)
	return store.LeaseID(n)
}
