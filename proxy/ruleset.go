package proxy

import (
	"slices"
	"strings"
)

// Ruleset is all that the kernel should hold for one address family. It is immutable once rendered;
// successive Rulesets share what did not change.
type Ruleset struct {
	Family Family
	// Prefix begins the names of all chains, and of no chain of others: "INBOARD-".
	Prefix string
	// Tables are in the order in which to apply them: a service that gets its first endpoints is
	// routed before it is no longer refused.
	Tables []Table
	// Sysctls are the kernel settings that the rules rely on.
	Sysctls []Sysctl
}

// Table is the part of a Ruleset in one table of iptables.
type Table struct {
	// Name is "nat" or "filter".
	Name string
	// Chains are in an order in which each comes after those that it jumps to.
	Chains []Chain
	// Jumps are the rules in the kernel's own chains that lead here.
	Jumps []Jump
}

// Chain is a chain and its rules, in the words of "iptables -A chain".
type Chain struct {
	Name  string
	Rules []string
}

// Jump is a rule at the top of one of the kernel's own chains.
type Jump struct {
	// Parent is the chain that it stands in, such as "PREROUTING".
	Parent string
	Rule   []string
}

// Sysctl is a kernel setting.
type Sysctl struct {
	// Name has slashes, as below /proc/sys: "net/ipv4/conf/all/route_localnet".
	Name, Value string
	// Optional tells that a kernel without the setting is fine: Without says what does not work
	// then.
	Optional bool
	Without  string
}

// Equal tells whether two chains have the same name and rules. It is cheap for chains that share
// their rules.
func (c Chain) Equal(d Chain) bool {
	if c.Name != d.Name || len(c.Rules) != len(d.Rules) {
		return false
	}
	return len(c.Rules) == 0 || &c.Rules[0] == &d.Rules[0] || slices.Equal(c.Rules, d.Rules)
}

// AppendRestore appends the chain's declaration as iptables-restore reads it. With --noflush it
// makes the chain, or empties it if it exists.
func (c Chain) AppendRestore(b []byte) []byte {
	return append(append(append(b, ':'), c.Name...), " - [0:0]\n"...)
}

// AppendRules appends the chain's rules as iptables-restore reads them.
func (c Chain) AppendRules(b []byte) []byte {
	for _, r := range c.Rules {
		b = append(append(append(b, "-A "...), c.Name...), ' ')
		b = append(append(b, r...), '\n')
	}
	return b
}

// Text returns the whole Ruleset as iptables-restore reads it, the jumps included.
func (r *Ruleset) Text() string {
	var b []byte
	for _, t := range r.Tables {
		b = append(append(append(b, '*'), t.Name...), '\n')
		for _, c := range t.Chains {
			b = c.AppendRestore(b)
		}
		for _, j := range t.Jumps {
			b = append(b, "-A "+j.Parent+" "+strings.Join(j.Rule, " ")+"\n"...)
		}
		for _, c := range t.Chains {
			b = c.AppendRules(b)
		}
		b = append(b, "COMMIT\n"...)
	}
	return string(b)
}

// Count returns how many chains and rules the Ruleset has, the jumps included.
func (r *Ruleset) Count() (chains, rules int) {
	for _, t := range r.Tables {
		chains += len(t.Chains)
		rules += len(t.Jumps)
		for _, c := range t.Chains {
			rules += len(c.Rules)
		}
	}
	return chains, rules
}
