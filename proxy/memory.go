package proxy

import (
	"context"
	"sync"
)

// Memory is an [Applier] that keeps the rules to itself. It is for tests and for looking at rules;
// its zero value is ready for use, by several goroutines.
type Memory struct {
	// Fail, when not nil, is asked before each Apply; its error is Apply's.
	Fail func(rules *Ruleset, full bool) error

	mu      sync.Mutex
	rules   map[Family]*Ruleset
	flows   []*Flows
	applied int
	changed chan struct{}
}

// Apply keeps rules.
func (m *Memory) Apply(_ context.Context, rules *Ruleset, full bool) error {
	if m.Fail != nil {
		if err := m.Fail(rules, full); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rules == nil {
		m.rules = map[Family]*Ruleset{}
	}
	m.rules[rules.Family] = rules
	m.applied++
	m.announce()
	return nil
}

// Intact tells whether the rules of the family were flushed.
func (m *Memory) Intact(_ context.Context, rules *Ruleset) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rules[rules.Family] != nil, nil
}

// ForgetFlows notes flows.
func (m *Memory) ForgetFlows(_ context.Context, flows *Flows) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flows = append(m.flows, flows)
	m.announce()
	return nil
}

// Remove drops all rules.
func (m *Memory) Remove(context.Context, string) error {
	m.Flush()
	return nil
}

// Flush drops all rules, as somebody else might.
func (m *Memory) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.rules)
	m.announce()
}

// Rules returns the rules in effect, nil when there are none, and a channel that is closed with the
// next change of anything.
func (m *Memory) Rules(f Family) (*Ruleset, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.rules[f], m.changed
}

// Applied returns how many times Apply succeeded.
func (m *Memory) Applied() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// Forgotten returns what ForgetFlows was called with.
func (m *Memory) Forgotten() []*Flows {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*Flows(nil), m.flows...)
}

func (m *Memory) announce() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}
