package election

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// errTaken means that someone else leads.
var errTaken = errors.New("the lease is taken")

// attempt makes the Lease this candidate's or, when leading, renews it. The request ends at the deadline: what
// comes later is of no use.
func (e *Elector) attempt(ctx context.Context, deadline time.Time, leading bool) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if e.seen != nil && e.mine() {
		// Who has the Lease need not read it. If it is no longer as it was, the server says so.
		err := e.write(ctx, renewed(e.seen, e.cfg))
		if err == nil || !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	lease, err := e.leases.Get(ctx, e.cfg.Namespace, e.cfg.Name)
	switch {
	case apierrors.IsNotFound(err):
		return e.create(ctx)
	case err != nil:
		return err
	}
	e.note(lease)
	if !e.mine() && (leading || holder(lease) != "" && time.Since(e.seenAt) < e.validFor()) {
		return fmt.Errorf("%w by %q", errTaken, holder(lease))
	}
	return e.write(ctx, renewed(lease, e.cfg))
}

func (e *Elector) create(ctx context.Context) error {
	e.seen, e.wrote = nil, true
	lease, err := e.leases.Create(ctx, renewed(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.cfg.Namespace, Name: e.cfg.Name},
	}, e.cfg))
	if err != nil {
		return err
	}
	e.note(lease)
	return nil
}

// write stores the Lease if it is still what it was read as.
func (e *Elector) write(ctx context.Context, lease *coordinationv1.Lease) error {
	e.wrote = true
	now, err := e.leases.Update(ctx, lease)
	if err != nil {
		return err
	}
	e.note(now)
	return nil
}

// note remembers the Lease, and when it was last seen to change.
func (e *Elector) note(lease *coordinationv1.Lease) {
	if e.seen == nil || e.seen.UID != lease.UID || e.seen.ResourceVersion != lease.ResourceVersion {
		e.seenAt = time.Now()
	}
	e.seen = lease
}

func (e *Elector) mine() bool { return holder(e.seen) == e.cfg.Identity }

// validFor is how long the leader has asked the others to wait.
func (e *Elector) validFor() time.Duration {
	if s := e.seen.Spec.LeaseDurationSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return e.cfg.LeaseDuration
}

func holder(lease *coordinationv1.Lease) string { return ptr.Deref(lease.Spec.HolderIdentity, "") }

// renewed is the Lease as the candidate writes it.
func renewed(old *coordinationv1.Lease, cfg Config) *coordinationv1.Lease {
	lease := old.DeepCopy()
	now := metav1.NowMicro()
	s := &lease.Spec
	if holder(old) != cfg.Identity {
		s.AcquireTime = &now
		if old.ResourceVersion != "" {
			s.LeaseTransitions = ptr.To(ptr.Deref(s.LeaseTransitions, 0) + 1)
		} else {
			s.LeaseTransitions = ptr.To[int32](0)
		}
	}
	s.HolderIdentity, s.RenewTime = &cfg.Identity, &now
	s.LeaseDurationSeconds = ptr.To(int32(cfg.LeaseDuration / time.Second))
	return lease
}

// release gives the Lease back, when it is this candidate's or, because an answer was lost, may be. It does not
// wait long for a server that does not answer: then the Lease runs out by itself.
func (e *Elector) release(ctx context.Context) {
	if !e.wrote {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.RetryPeriod)
	defer cancel()
	lease, err := e.leases.Get(ctx, e.cfg.Namespace, e.cfg.Name)
	if err == nil && holder(lease) == e.cfg.Identity {
		now := metav1.NowMicro()
		lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To(""), ptr.To[int32](1)
		lease.Spec.RenewTime, lease.Spec.AcquireTime = &now, &now
		_, err = e.leases.Update(ctx, lease)
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		e.cfg.Logger.Error("failed to give the lease back", "lease", e.cfg.Namespace+"/"+e.cfg.Name, "err", err)
	}
	e.seen, e.wrote = nil, false
}

func randomPart(d time.Duration) time.Duration {
	return time.Duration(rand.Float64() * jitter * float64(d))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
