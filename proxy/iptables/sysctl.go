package iptables

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/inboard/inboard/proxy"
)

// sysctls are the kernel settings that were changed, with what they were before.
type sysctls struct {
	root   string
	before map[string]string
}

// settings are all that rules ask for.
var settings = []string{
	"net/ipv4/conf/all/route_localnet", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
}

// noteChain names a chain, empty and unused, that tells the next program what a setting was, should this
// one be killed: without its rules, route_localnet lets neighbours connect to loopback addresses.
func noteChain(prefix, setting string) string {
	sum := sha256.Sum256([]byte(setting))
	return fmt.Sprintf("%sWAS-%x-", prefix, sum[:3])
}

// note returns rules with the chains that tell of settings that are going to change, or have been.
func (s *sysctls) note(rules *proxy.Ruleset) *proxy.Ruleset {
	var notes []proxy.Chain
	for _, want := range rules.Sysctls {
		old, ok := s.before[want.Name]
		if b, err := os.ReadFile(filepath.Join(s.root, want.Name)); !ok && err == nil {
			old = strings.TrimSpace(string(b))
			ok = old != want.Value
		}
		if _, err := strconv.ParseUint(old, 10, 8); ok && err == nil {
			notes = append(notes, proxy.Chain{Name: noteChain(rules.Prefix, want.Name) + old})
		}
	}
	i := slices.IndexFunc(rules.Tables, func(t proxy.Table) bool { return t.Name == "filter" })
	if len(notes) == 0 || i < 0 {
		return rules
	}
	noted := *rules
	noted.Tables = slices.Clone(rules.Tables)
	noted.Tables[i].Chains = slices.Concat(notes, rules.Tables[i].Chains)
	return &noted
}

// recall reads the notes of a program that was killed.
func (s *sysctls) recall(have state, prefix string) {
	for _, setting := range settings {
		for chain := range have["filter"] {
			old, ok := strings.CutPrefix(chain, noteChain(prefix, setting))
			if _, known := s.before[setting]; ok && !known {
				s.before[setting] = old
			}
		}
	}
}

// set changes a setting, unless it is as it should be.
func (s *sysctls) set(name, value string) error {
	path := filepath.Join(s.root, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old := strings.TrimSpace(string(b))
	if old == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return err
	}
	if _, ok := s.before[name]; !ok {
		s.before[name] = old
	}
	return nil
}

// restore sets a setting back to what it was before this Applier changed it.
func (s *sysctls) restore(name string) error {
	old, ok := s.before[name]
	if !ok {
		return nil
	}
	delete(s.before, name)
	return os.WriteFile(filepath.Join(s.root, name), []byte(old), 0)
}

func (s *sysctls) restoreAll() error {
	var errs []error
	for name := range s.before {
		errs = append(errs, s.restore(name))
	}
	return errors.Join(errs...)
}

// applySysctls makes the settings those of rules. One that can't be changed takes nothing away from
// the rules, and so is told once and no more.
func (a *Applier) applySysctls(rules *proxy.Ruleset) {
	want := map[string]bool{}
	for _, s := range rules.Sysctls {
		want[s.Name] = true
		err := a.sysctls.set(s.Name, s.Value)
		if err == nil || a.warned[s.Name] {
			continue
		}
		a.warned[s.Name] = true
		switch setting := strings.ReplaceAll(s.Name, "/", "."); {
		case s.Optional && errors.Is(err, fs.ErrNotExist):
			a.log.Warn("this kernel has no "+setting+": "+s.Without, "family", rules.Family)
		default:
			a.log.Warn(fmt.Sprintf("can't set %s: set it by hand (sysctl -w %s=%s)", setting, setting, s.Value), "error", err)
		}
	}
	for name := range a.sysctls.before {
		if !want[name] && familyOf(name) == rules.Family {
			if err := a.sysctls.restore(name); err != nil {
				a.log.Warn("can't set back "+strings.ReplaceAll(name, "/", "."), "error", err)
			}
		}
	}
}

// familyOf tells whose rules ask for a setting.
func familyOf(name string) proxy.Family {
	if strings.Contains(name, "ip6") || strings.Contains(name, "ipv6") {
		return proxy.IPv6
	}
	return proxy.IPv4
}
