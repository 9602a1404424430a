package iptables

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/inboard/inboard/proxy"
)

// sysctls are the kernel settings that were changed, with what they were before.
type sysctls struct {
	root   string
	before map[string]string
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
