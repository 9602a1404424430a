package iptables

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/internal/nstest"
)

// TestMain runs all tests in a new network namespace, so that no rule or link of theirs can touch
// the machine's.
func TestMain(m *testing.M) {
	nstest.Enter()
	goleak.VerifyTestMain(m) // without root, those that need it skip
}

// needNetns skips a test that can't have a network namespace of its own.
func needNetns(t testing.TB) {
	t.Helper()
	nstest.Need(t)
	if _, err := lookPath("iptables-restore"); err != nil {
		t.Skip("needs iptables:", err)
	}
}
