package iptables

import (
	"errors"
	"fmt"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/inboard/inboard/proxy"
)

// tables are those that rules may be in, with the kernel's own chains.
var (
	tables  = []string{"nat", "filter"}
	parents = map[string][]string{
		"nat":    {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
		"filter": {"INPUT", "FORWARD", "OUTPUT"},
	}
)

// ensureJumps puts missing jumps at the top of the kernel's chains, before what others may accept or
// drop there.
func (f *family) ensureJumps(rules *proxy.Ruleset) error {
	for _, t := range rules.Tables {
		for _, j := range t.Jumps {
			if err := f.ipt.InsertUnique(t.Name, j.Parent, 1, j.Rule...); err != nil {
				return fmt.Errorf("lead %s of table %s to the rules: %w", j.Parent, t.Name, err)
			}
		}
	}
	return nil
}

func (f *family) hasJumps(t proxy.Table) (bool, error) {
	for _, j := range t.Jumps {
		ok, err := f.ipt.Exists(t.Name, j.Parent, j.Rule...)
		if known := (*goiptables.Error)(nil); errors.As(err, &known) && known.IsNotExist() {
			return false, nil // the chain that it leads to is gone
		}
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// sameRoot tells whether the chain has as many rules in the kernel as in t.
func (f *family) sameRoot(t proxy.Table, chain string) (bool, error) {
	for _, c := range t.Chains {
		if c.Name != chain {
			continue
		}
		if ok, err := f.ipt.ChainExists(t.Name, chain); !ok || err != nil {
			return false, err
		}
		lines, err := f.ipt.List(t.Name, chain)
		if err != nil {
			return false, err
		}
		return len(lines) == 1+len(c.Rules), nil // the first declares the chain
	}
	return true, nil
}

// removeJumps removes all rules of the kernel's chains that lead to chains with the prefix.
func (f *family) removeJumps(prefix string) error {
	for _, table := range tables {
		for _, parent := range parents[table] {
			lines, err := f.ipt.List(table, parent)
			if err != nil {
				return err
			}
			for _, line := range lines {
				rule, ok := strings.CutPrefix(line, "-A "+parent+" ")
				if !ok || !strings.Contains(rule, "-j "+prefix) {
					continue
				}
				if err := f.ipt.DeleteIfExists(table, parent, strings.Fields(rule)...); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
