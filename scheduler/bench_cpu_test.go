//go:build unix

package scheduler

import (
	"syscall"
	"time"
)

// ProcessorTime returns the processor time that this process has used, which other work on the machine distorts less
// than the time that passes. It is exported for the benchmarks of scheduler_test.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
