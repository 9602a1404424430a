package iptables

import (
	"errors"
	"os/exec"

	goiptables "github.com/coreos/go-iptables/iptables"
)

// commandTries is how often a command is run that a signal ends.
const commandTries = 5

// commands are what is asked of go-iptables. It runs its programs in our process group, so that Ctrl-C in
// a terminal also ends the one that is just running, be it the one that takes the rules away. All commands
// may be repeated, and are when a signal has ended them.
type commands struct{ ipt *goiptables.IPTables }

func (c commands) InsertUnique(table, chain string, pos int, rule ...string) error {
	return again(func() error { return c.ipt.InsertUnique(table, chain, pos, rule...) })
}

func (c commands) DeleteIfExists(table, chain string, rule ...string) error {
	return again(func() error { return c.ipt.DeleteIfExists(table, chain, rule...) })
}

func (c commands) Exists(table, chain string, rule ...string) (ok bool, err error) {
	err = again(func() (err error) { ok, err = c.ipt.Exists(table, chain, rule...); return err })
	return ok, err
}

func (c commands) ChainExists(table, chain string) (ok bool, err error) {
	err = again(func() (err error) { ok, err = c.ipt.ChainExists(table, chain); return err })
	return ok, err
}

func (c commands) List(table, chain string) (rules []string, err error) {
	err = again(func() (err error) { rules, err = c.ipt.List(table, chain); return err })
	return rules, err
}

func (c commands) ListChains(table string) (chains []string, err error) {
	err = again(func() (err error) { chains, err = c.ipt.ListChains(table); return err })
	return chains, err
}

// again calls f until no signal ends its program.
func again(f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == commandTries || !signaled(err) {
			return err
		}
	}
}

// signaled tells that a signal has ended a program.
func signaled(err error) bool {
	if known := (*goiptables.Error)(nil); errors.As(err, &known) {
		return !known.Exited()
	}
	exit := (*exec.ExitError)(nil)
	return errors.As(err, &exit) && !exit.Exited()
}
