//go:build !linux

package kubelet

import (
	"errors"
	"os"
)

var errNoMount = errors.New("mounting is supported on Linux only")

func mountTmpfs(string, int64) error  { return errNoMount }
func bindFile(*os.File, string) error { return errNoMount }
func mounted(string) bool             { return false }
func unmountBelow(string) error       { return nil }
