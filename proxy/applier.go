package proxy

import (
	"context"
	"errors"
	"net/netip"
)

// Errors that an [Applier] meets; test with errors.Is. They come wrapped in an error that says what
// to do.
var (
	// ErrNotInstalled means that a program that is needed is not on this machine.
	ErrNotInstalled = errors.New("not installed")
	// ErrNotPermitted means that this process may not change the kernel's rules.
	ErrNotPermitted = errors.New("not permitted")
)

// Applier brings rules into effect. A Proxy calls its methods one at a time.
type Applier interface {
	// Apply makes the rules of the family those of rules: what is there already is left alone,
	// what rules do not have is removed. With full set, everything is written again, whatever is
	// believed to be there. After an error the rules are in an unknown state, and so the next
	// call must write everything by itself.
	Apply(ctx context.Context, rules *Ruleset, full bool) error

	// Intact tells, by a cheap look, whether what was applied is still there, or somebody has
	// flushed it.
	Intact(ctx context.Context, rules *Ruleset) (bool, error)

	// ForgetFlows makes the kernel forget the UDP flows to the services of flows that go to
	// anywhere but their endpoints. A new packet of such a flow then finds a new endpoint. TCP
	// needs nothing of the kind, as its clients notice and connect anew.
	ForgetFlows(ctx context.Context, flows *Flows) error

	// Remove removes all chains whose names begin with prefix, of all families, be they from an
	// earlier life, and what leads to them, and sets back what it set.
	Remove(ctx context.Context, prefix string) error
}

// Flows tells where UDP packets to services may go.
type Flows struct {
	Family Family
	// Services are the endpoints behind each address and port; none when it is served no more.
	Services map[netip.AddrPort][]netip.AddrPort
	// NodePorts are the endpoints behind each node port.
	NodePorts map[uint16][]netip.AddrPort
}

// Empty tells that there is nothing to look for.
func (f *Flows) Empty() bool { return len(f.Services) == 0 && len(f.NodePorts) == 0 }
