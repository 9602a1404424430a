package image

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/inboard/inboard/kubelet"
)

// Reference is a normalized image reference, as Docker reads them: "nginx" is
// "docker.io/library/nginx:latest".
type Reference struct {
	// Host is the registry, with the port if there is one: "docker.io", "localhost:5000".
	Host string
	// Path is the repository without the registry: "library/nginx".
	Path string
	// Tag is "latest" when neither a tag nor a digest was given; it may stand beside a digest,
	// which then decides.
	Tag string
	// Digest is "sha256:" and 64 hexadecimal digits, or empty.
	Digest string
}

const (
	dockerHost   = "docker.io"
	defaultTag   = "latest"
	maxNameBytes = 255
)

// patterns are compiled when they are first needed: a container's start is a start of the program,
// too, and pays for what happens before main.
type patterns struct{ host, path, tag, digest *regexp.Regexp }

var compiled = sync.OnceValue(func() patterns {
	const (
		label     = `[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?`
		component = `[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`
	)
	return patterns{
		host:   regexp.MustCompile(`^(?:` + label + `(?:\.` + label + `)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`),
		path:   regexp.MustCompile(`^` + component + `(?:/` + component + `)*$`),
		tag:    regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`),
		digest: regexp.MustCompile(`^sha256:[a-f0-9]{64}$`),
	}
})

// ParseReference normalizes and checks a reference. Errors are kubelet.ErrInvalidImageName.
func ParseReference(s string) (Reference, error) {
	var r Reference
	rest := s
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		rest, r.Digest = rest[:at], rest[at+1:]
		if !compiled().digest.MatchString(r.Digest) {
			return r, invalidName(s, "the digest must be sha256: and 64 hexadecimal digits")
		}
	}
	if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
		rest, r.Tag = rest[:colon], rest[colon+1:]
		if !compiled().tag.MatchString(r.Tag) {
			return r, invalidName(s, "the tag is malformed")
		}
	}
	r.Host, r.Path = splitHost(rest)
	if !compiled().host.MatchString(r.Host) {
		return r, invalidName(s, "the registry is malformed")
	}
	if !compiled().path.MatchString(r.Path) {
		return r, invalidName(s, pathProblem(r.Path))
	}
	if len(r.Host)+1+len(r.Path) > maxNameBytes {
		return r, invalidName(s, fmt.Sprintf("the name is longer than %d characters", maxNameBytes))
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	return r, nil
}

// splitHost applies Docker's rule: the first component is a registry if it looks like a host.
func splitHost(name string) (host, path string) {
	first, rest, found := strings.Cut(name, "/")
	isHost := found && (strings.ContainsAny(first, ".:") || first == "localhost" || first != strings.ToLower(first))
	if !isHost {
		host, path = dockerHost, name
	} else {
		host, path = first, rest
	}
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = dockerHost
	}
	if host == dockerHost && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return host, path
}

func pathProblem(path string) string {
	switch {
	case path == "" || path == "library/":
		return "the repository is missing"
	case path != strings.ToLower(path):
		return "the repository must be lowercase"
	default:
		return "the repository is malformed"
	}
}

func invalidName(s, why string) error {
	return fmt.Errorf("%w %q: %s", kubelet.ErrInvalidImageName, s, why)
}

// Name is the repository with its registry: "docker.io/library/nginx".
func (r Reference) Name() string { return r.Host + "/" + r.Path }

// String is the reference in full. A tag beside a digest is left out, because it decides nothing.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.Name() + "@" + r.Digest
	}
	return r.Name() + ":" + r.Tag
}
