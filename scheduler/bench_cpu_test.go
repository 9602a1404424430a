//go:build unix

package scheduler

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime starts a clock of the processor time of this process, which other work on the machine distorts less than
// the time that passes. The function returned reports it per iteration.
func cpuTime(b *testing.B) (report func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	from := used()
	return func() { b.ReportMetric(float64(used()-from)/float64(b.N), "cpu-ns/op") }
}
