package proxy

import (
	"context"
	"time"
)

const (
	retryMin = 100 * time.Millisecond
	retryMax = 30 * time.Second
	maxRest  = 100 * time.Millisecond
)

// family is the state of one address family. Only the loop touches it.
type family struct {
	renderer *renderer
	// rules are what should be in effect, nil before the first sync.
	rules *Ruleset
	// stale tells that rules are behind the renderer, failed that they could not be applied, full
	// that everything has to be written.
	stale, failed, full bool
	// flows are where UDP packets could go after the last sync.
	flows *Flows
}

// loop brings changes into effect until ctx ends. Changes that come while it is busy, or within
// MinSyncPeriod of the last sync, are joined. It rests as long as the last sync took, within limits,
// so that a stream of changes takes about half of one processor and no more.
func (p *Proxy) loop(ctx context.Context) {
	p.each(func(f *family) { f.stale, f.full = true, true })
	h := newHealth(p.log)
	defer h.close()
	check, full := time.NewTicker(p.cfg.CheckPeriod), time.NewTicker(p.cfg.FullSyncPeriod)
	defer check.Stop()
	defer full.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	pause := retryMin
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			p.update()
		case <-retry.C:
			p.update()
		case <-full.C:
			p.each(func(f *family) { f.stale, f.full = true, true })
		case <-check.C:
			p.check(ctx)
			p.updateHealth(h)
		}
		start := time.Now()
		tried, ok := p.sync(ctx)
		if !tried {
			continue
		}
		p.updateHealth(h)
		if ok {
			pause = retryMin
		} else {
			retry.Reset(pause)
			pause = min(2*pause, retryMax)
		}
		rest(ctx, time.Since(start), p.cfg.MinSyncPeriod)
	}
}

// rest waits until the loop may run again after a sync.
func rest(ctx context.Context, took, least time.Duration) {
	t := time.NewTimer(max(least-took, min(took, maxRest)))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (p *Proxy) each(f func(*family)) {
	for _, fam := range p.families {
		f(fam)
	}
}

// update translates the services that changed.
func (p *Proxy) update() {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = make(map[serviceKey]struct{})
	p.mu.Unlock()
	for k := range dirty {
		svc, ok := p.services.Get(k.Namespace, k.Name)
		endpointSlices := p.slices.ByIndex(byService, k.String())
		p.each(func(f *family) {
			var ports []ServicePort
			if ok {
				ports = Translate(svc, endpointSlices, f.renderer.cfg.Family, p.cfg.NodeName)
			}
			if f.renderer.set(k, ports) {
				f.stale = true
			}
		})
	}
}

// check looks whether the rules are still there.
func (p *Proxy) check(ctx context.Context) {
	p.each(func(f *family) {
		if f.rules == nil || f.failed {
			return
		}
		ok := true
		err := contain(func() (err error) { ok, err = p.cfg.Applier.Intact(ctx, f.rules); return err })
		switch {
		case ctx.Err() != nil:
		case err != nil:
			p.log.Warn("can't check the rules", "family", f.rules.Family, "error", err)
		case !ok:
			p.log.Warn("the rules are gone or changed by somebody else; writing them again", "family", f.rules.Family)
			f.stale, f.full = true, true
		}
	})
}

// sync brings what is stale into effect. It tells whether there was anything, and whether all is well.
func (p *Proxy) sync(ctx context.Context) (tried, ok bool) {
	ok = true
	p.each(func(f *family) {
		if !f.stale && !f.failed {
			return
		}
		tried = true
		if err := p.syncFamily(ctx, f); err != nil {
			ok = false
			if ctx.Err() == nil {
				p.log.Error("can't apply the rules; trying again", "family", f.renderer.cfg.Family, "error", err)
			}
		}
	})
	if ok && ctx.Err() == nil {
		select {
		case <-p.ready:
		default:
			close(p.ready)
		}
	}
	return tried, ok
}

func (p *Proxy) syncFamily(ctx context.Context, f *family) error {
	start := time.Now()
	if f.stale || f.rules == nil {
		f.rules = f.renderer.ruleset()
		f.stale = false
	}
	full := f.full
	err := contain(func() error { return p.cfg.Applier.Apply(ctx, f.rules, full) })
	f.failed = err != nil
	p.report(f, full, time.Since(start), err)
	if err != nil {
		return err
	}
	f.full = false
	return p.forget(ctx, f)
}

// forget cleans up after UDP endpoints that went away. A failure is not worth another sync: flows
// end by themselves when they fall silent.
func (p *Proxy) forget(ctx context.Context, f *family) error {
	now := f.renderer.flows()
	stale := now.staleSince(f.flows)
	f.flows = now
	if stale.Empty() {
		return nil
	}
	if err := contain(func() error { return p.cfg.Applier.ForgetFlows(ctx, stale) }); err != nil && ctx.Err() == nil {
		p.log.Warn("can't forget UDP flows to endpoints that are gone; they end when they fall silent", "error", err)
	}
	return nil
}

func (p *Proxy) report(f *family, full bool, took time.Duration, err error) {
	s := Sync{Family: f.rules.Family, Full: full, Took: took, Err: err}
	for _, piece := range f.renderer.pieces {
		s.Services += len(piece.ports)
	}
	s.Chains, s.Rules = f.rules.Count()
	if err == nil {
		p.log.Debug("rules applied", "family", s.Family, "services", s.Services, "rules", s.Rules, "took", took)
	}
	if p.cfg.OnSync != nil {
		_ = contain(func() error { p.cfg.OnSync(s); return nil })
	}
}
