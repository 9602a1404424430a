package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/inboard/inboard/store"
)

// RunScripts runs the scripts in a directory, each on a store of its own. The commands:
//
//	txn                 a transaction, see parseTxn
//	get KEY|PREFIX* [rev=N] [limit=N]
//	watch NAME KEY|PREFIX* [from=N]
//	next NAME           all that the watcher has to say
//	compact REVISION
//	grant ID TTL, revoke ID, lease ID
func RunScripts(t *testing.T, dir string, open Opener) {
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if f.IsDir() {
			continue // rapid's
		}
		t.Run(f.Name(), func(t *testing.T) { runScript(t, filepath.Join(dir, f.Name()), open(t)) })
	}
}

func runScript(t *testing.T, path string, opened Store) {
	s := script{t: t, store: opened, watchers: map[string]Watcher{}}
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		out, err := s.run(d)
		if err != nil {
			out += "error: " + name(err) + "\n"
		}
		return out
	})
}

type script struct {
	t        *testing.T
	store    Store
	watchers map[string]Watcher
}

// failed is a watcher that could not begin, whose error shows at its first Next.
type failed struct {
	Watcher
	err error
}

func (f failed) Next(context.Context) (store.Batch, error) { return store.Batch{}, f.err }
func (f failed) Close()                                    {}

// name is what the scripts call an error; its text may have more to say.
func name(err error) string {
	for _, known := range []error{
		store.ErrCompacted, store.ErrFutureRevision, store.ErrTooLarge, store.ErrInvalid,
		store.ErrLeaseNotFound, store.ErrLeaseExists, store.ErrKeyNotFound,
	} {
		if errors.Is(err, known) {
			return strings.TrimPrefix(known.Error(), "store: ")
		}
	}
	return err.Error()
}

func (s *script) run(d *datadriven.TestData) (string, error) {
	arg := func(i int) string {
		if i >= len(d.CmdArgs) {
			d.Fatalf(s.t, "%s needs %d arguments", d.Cmd, i+1)
		}
		return d.CmdArgs[i].Key
	}
	switch d.Cmd {
	case "txn":
		return s.txn(d.Input)
	case "get":
		r := store.Range{Linearizable: true}
		r.Key, r.End = span(arg(0))
		d.MaybeScanArgs(s.t, "rev", &r.Revision)
		d.MaybeScanArgs(s.t, "limit", &r.Limit)
		return s.get(r)
	case "watch":
		cfg := store.WatchConfig{Prev: true}
		cfg.Key, cfg.End = span(arg(1))
		d.MaybeScanArgs(s.t, "from", &cfg.Revision)
		w, err := s.store.Watch(cfg)
		if err != nil {
			w = failed{err: err}
		}
		s.watchers[arg(0)] = w
		s.t.Cleanup(w.Close)
		return "", nil
	case "next":
		return s.next(s.watchers[arg(0)])
	case "compact":
		rev, err := strconv.ParseInt(arg(0), 10, 64)
		if err != nil {
			return "", err
		}
		return "", s.store.Compact(s.t.Context(), rev)
	case "grant", "revoke", "lease":
		return s.lease(d.Cmd, leaseID(arg(0)), arg)
	}
	d.Fatalf(s.t, "unknown command %q", d.Cmd)
	return "", nil
}

func span(arg string) (key, end string) {
	if prefix, ok := strings.CutSuffix(arg, "*"); ok {
		return prefix, store.PrefixEnd(prefix)
	}
	return arg, ""
}

func (s *script) lease(cmd string, id store.LeaseID, arg func(int) string) (string, error) {
	ctx := s.t.Context()
	switch cmd {
	case "grant":
		ttl, err := time.ParseDuration(arg(1))
		if err == nil {
			_, err = s.store.Grant(ctx, id, ttl)
		}
		return "", err
	case "revoke":
		return "", s.store.Revoke(ctx, id)
	}
	info, err := s.store.Lease(ctx, id)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("of %s, with the keys %q\n", info.TTL, info.Keys), nil
}

func (s *script) txn(text string) (string, error) {
	t, err := parseTxn(text)
	if err != nil {
		return "", err
	}
	res, err := s.store.Txn(s.t.Context(), t)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("revision %d", res.Revision) + told(res, t, ""), nil
}

// told is the outcome of a transaction, nested ones further to the right.
func told(res store.TxnResult, t store.Txn, indent string) string {
	ops, out := t.Then, ""
	if !res.Succeeded {
		ops = t.Else
	}
	if len(t.If) > 0 {
		out = map[bool]string{true: ", the conditions hold", false: ", a condition does not hold"}[res.Succeeded]
	}
	out += "\n"
	for i, r := range res.Results {
		switch ops[i].Type {
		case store.TypeGet:
			for line := range strings.Lines(lines(r.Entries)) {
				out += indent + line
			}
		case store.TypeDelete:
			out += indent + fmt.Sprintf("%d deleted\n", r.Count)
		case store.TypeTxn:
			out += indent + "nested" + told(*r.Txn, *ops[i].Txn, indent+"  ")
		}
	}
	return out
}

func (s *script) get(r store.Range) (string, error) {
	res, err := s.store.Range(s.t.Context(), r)
	if err != nil {
		return "", err
	}
	out := fmt.Sprintf("at revision %d", res.Revision)
	if res.More {
		out += fmt.Sprintf(", %d of %d", len(res.Entries), res.Count)
	}
	return out + "\n" + lines(res.Entries), nil
}

func (s *script) next(w Watcher) (string, error) {
	out := ""
	for {
		b, err := nextOrNothing(s.t, w)
		if err != nil {
			return out, err
		}
		if b.Revision == 0 && w.Progress() < revision(s.t, s.store) {
			continue
		}
		if b.Revision == 0 {
			return out + fmt.Sprintf("nothing more up to revision %d\n", w.Progress()), nil
		}
		for _, ev := range b.Events {
			switch {
			case ev.Type == store.EventDelete:
				out += fmt.Sprintf("%d: delete %s, was %s\n", b.Revision, ev.Entry.Key, ev.Prev.Value)
			case ev.Prev != nil:
				out += fmt.Sprintf("%d: put %s = %s, was %s\n", b.Revision, ev.Entry.Key, ev.Entry.Value, ev.Prev.Value)
			default:
				out += fmt.Sprintf("%d: create %s = %s\n", b.Revision, ev.Entry.Key, ev.Entry.Value)
			}
		}
	}
}

func lines(entries []*store.Entry) string {
	out := ""
	for _, e := range entries {
		out += fmt.Sprintf("%s = %s (created in %d, changed in %d, version %d", e.Key, e.Value, e.CreateRevision, e.ModRevision, e.Version)
		if e.Lease != 0 {
			out += fmt.Sprintf(", lease %d", e.Lease)
		}
		out += ")\n"
	}
	return out
}
