package podspec

import (
	"strings"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// The grammar of image references, https://github.com/distribution/reference.
var (
	tagPattern       = check.Pattern(`^[\w][\w.-]{0,127}$`)
	digestPattern    = check.Pattern(`^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$`)
	componentPattern = check.Pattern(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	domainPattern    = check.Pattern(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$`)
	identifier       = check.Pattern(`^[a-f0-9]{64}$`)
)

// repositoryIsValid tells whether name is an image name without tag and digest.
func repositoryIsValid(name string) bool {
	if identifier().MatchString(name) {
		return false
	}
	parts := strings.Split(name, "/")
	// The first part is a registry when it looks like a host, as in Docker's rule.
	first := parts[0]
	if len(parts) > 1 && (strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first) {
		if !domainPattern().MatchString(first) {
			return false
		}
		parts = parts[1:]
	}
	for _, p := range parts {
		if !componentPattern().MatchString(p) {
			return false
		}
	}
	return len(name) <= 255
}
