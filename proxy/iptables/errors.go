package iptables

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/inboard/inboard/proxy"
)

var errorLine = regexp.MustCompile(`line:? (\d+)`)

// restoreError says what iptables-restore complained about, with the line that it did not like.
func restoreError(name string, err error, stderr string, text []byte) error {
	said := strings.TrimSpace(stderr)
	if i := strings.Index(said, "\nTry `"); i >= 0 {
		said = said[:i]
	}
	if strings.Contains(said, "must be root") || strings.Contains(said, "Permission denied") {
		return fmt.Errorf("%s is %w: run as root, or with the capability CAP_NET_ADMIN: %s", name, proxy.ErrNotPermitted, said)
	}
	line := ""
	if m := errorLine.FindStringSubmatch(said); m != nil {
		n, _ := strconv.Atoi(m[1])
		lines := bytes.Split(text, []byte("\n"))
		if n > 0 && n <= len(lines) {
			line = fmt.Sprintf(" (%q)", lines[n-1])
		}
	}
	return fmt.Errorf("%s: %w: %s%s", name, err, said, line)
}
