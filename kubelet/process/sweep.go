//go:build linux

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// idVar is the variable by which the processes of a container are known.
const idVar = "CONTAINER_ID"

// sweep kills every process whose environment has the ID of one of the containers, and returns how
// many there were. Those are found too that left the process group or outlived their parent.
func sweep(ids map[string]bool) int {
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
