package iptables

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/inboard/inboard/proxy"
)

// Config says how an Applier works; the zero value will do.
type Config struct {
	// Logger receives what does not work but is no reason to stop; nil discards.
	Logger *slog.Logger
}

// Applier is a proxy.Applier on the kernel.
type Applier struct {
	log *slog.Logger

	mu       sync.Mutex
	families map[proxy.Family]*family
	sysctls  sysctls
	warned   map[string]bool
}

// family is what is known of one address family. A nil state is unknown.
type family struct {
	*tools
	have state
	// last is the Ruleset that have is made of, nil when it is of something else too.
	last *proxy.Ruleset
}

var _ proxy.Applier = (*Applier)(nil)

// New returns an Applier. The error is proxy.ErrNotInstalled or proxy.ErrNotPermitted, to errors.Is,
// when iptables is missing or may not be used, and says what to do about it.
func New(cfg Config) (*Applier, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Applier{
		log:      cfg.Logger,
		families: map[proxy.Family]*family{},
		sysctls:  sysctls{root: "/proc/sys", before: map[string]string{}},
		warned:   map[string]bool{},
	}
	if err := permitted(); err != nil {
		return nil, fmt.Errorf("proxy/iptables: %w", err)
	}
	if _, err := a.family(proxy.IPv4); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Applier) family(f proxy.Family) (*family, error) {
	if fam := a.families[f]; fam != nil {
		return fam, nil
	}
	t, err := find(f)
	if err != nil {
		return nil, fmt.Errorf("proxy/iptables: %w", err)
	}
	fam := &family{tools: t}
	a.families[f] = fam
	return fam, nil
}

// Apply is proxy.Applier's.
func (a *Applier) Apply(ctx context.Context, rules *proxy.Ruleset, full bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.family(rules.Family)
	if err != nil {
		return err
	}
	if f.have == nil {
		if err := a.look(f, rules.Prefix); err != nil {
			return fmt.Errorf("proxy/iptables: look for earlier rules: %w", err)
		}
		full = true
	}
	rules = a.sysctls.note(rules)
	steps := diff(f.have, f.last, rules, full)
	f.last = nil
	if err := f.perform(ctx, steps); err != nil {
		return fmt.Errorf("proxy/iptables: %w", err)
	}
	f.last = rules
	if full {
		if err := f.ensureJumps(rules); err != nil {
			f.have, f.last = nil, nil
			return fmt.Errorf("proxy/iptables: %w", err)
		}
	}
	a.applySysctls(rules) // last: some of the rules keep others from using them
	return nil
}

// look finds out what an earlier program left, or another one did.
func (a *Applier) look(f *family, prefix string) error {
	have, err := f.list(prefix)
	if err != nil {
		return err
	}
	f.have = have
	a.sysctls.recall(have, prefix)
	return nil
}

// perform runs the steps. After an error, what the kernel holds is unknown, unless ctx ended between
// two runs.
func (f *family) perform(ctx context.Context, steps []block) error {
	for _, run := range pack(steps, f.batch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.run(ctx, text(run)); err != nil {
			f.have = nil
			return err
		}
		f.have.done(run)
	}
	return nil
}

// list returns the chains that are there, of whose rules nothing is known.
func (f *family) list(prefix string) (state, error) {
	s := state{}
	for _, table := range tables {
		names, err := f.ipt.ListChains(table)
		if err != nil {
			return nil, err
		}
		s[table] = map[string]proxy.Chain{}
		for _, n := range names {
			if strings.HasPrefix(n, prefix) {
				s[table][n] = proxy.Chain{Name: n}
			}
		}
	}
	return s, nil
}

// Intact is proxy.Applier's: it looks for the jumps, and whether the first chain of each table has
// as many rules as it should.
func (a *Applier) Intact(ctx context.Context, rules *proxy.Ruleset) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.family(rules.Family)
	if err != nil {
		return false, err
	}
	for _, t := range rules.Tables {
		if ok, err := f.hasJumps(t); !ok || err != nil {
			return false, err
		}
		if ok, err := f.sameRoot(t, rules.Prefix+"SERVICES"); !ok || err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Remove is proxy.Applier's.
func (a *Applier) Remove(ctx context.Context, prefix string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var first error
	for _, fam := range []proxy.Family{proxy.IPv4, proxy.IPv6} {
		f, err := a.family(fam)
		if err != nil {
			continue // nothing of a family whose programs are not here
		}
		if f.have == nil {
			err = a.look(f, prefix)
		}
		if err == nil {
			err = f.removeAll(ctx, prefix)
		}
		if err != nil && first == nil {
			first = fmt.Errorf("proxy/iptables: %s: %w", fam, err)
		}
	}
	if err := a.sysctls.restoreAll(); err != nil && first == nil {
		first = fmt.Errorf("proxy/iptables: %w", err)
	}
	return first
}

func (f *family) removeAll(ctx context.Context, prefix string) (err error) {
	if f.have.empty() {
		return nil
	}
	if err := f.removeJumps(prefix); err != nil {
		return err
	}
	if last := f.last; last != nil && last.Prefix == prefix {
		f.last = nil
		if err := f.perform(ctx, undo(last, f.batch)); err == nil {
			return nil
		} // somebody else was at work: look what is there
		if f.have, err = f.list(prefix); err != nil {
			return err
		}
	}
	var steps []block
	for _, table := range tables {
		var names []string
		for n := range f.have[table] {
			if strings.HasPrefix(n, prefix) {
				names = append(names, n)
			}
		}
		steps = append(steps, dismantle(table, names)...)
	}
	return f.perform(ctx, steps)
}
