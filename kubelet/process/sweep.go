//go:build linux

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// idVar is the variable by which the processes of a container are known.
const idVar = "CONTAINER_ID"

// sweepRounds and sweepPause bound the wait for swept processes to be gone.
const (
	sweepRounds = 200
	sweepPause  = 5 * time.Millisecond
)

// sweep kills every process whose environment has the ID of one of the containers, waits until they
// are gone, and returns how many there were. Those are found too that left the process group or
// outlived their parent. It looks again after each kill, since they may have had children.
func sweep(ids map[string]bool) int {
	killed := sweepOnce(ids)
	for i, n := 0, killed; n > 0 && i < sweepRounds; i++ {
		time.Sleep(sweepPause)
		n = sweepOnce(ids)
	}
	return killed
}

func sweepOnce(ids map[string]bool) int {
	if len(ids) == 0 {
		return 0
	}
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return 0
	}
	killed := 0
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil || !ids[idIn(env)] {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

func idIn(environ []byte) string {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if id, ok := bytes.CutPrefix(v, []byte(idVar+"=")); ok {
			return string(id)
		}
	}
	return ""
}
