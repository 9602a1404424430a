//go:build !unix

package scheduler

import "time"

func ProcessorTime() time.Duration { return 0 }
