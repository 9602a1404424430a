package proxy

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	// labelProxyName hands a Service to another proxy.
	labelProxyName = "service.kubernetes.io/service-proxy-name"

	defaultInstance = "INBOARD"
	// maxChainName is what the kernel accepts (XT_EXTENSION_MAXNAMELEN less the final zero).
	maxChainName = 28
	maxInstance  = 8
	// maxComment is what the comment match accepts.
	maxComment = 255
)

// reserved are the prefixes under which other well-known programs keep their chains.
var reserved = []string{"KUBE", "CNI", "DOCKER", "CILIUM", "FLANNEL", "LIBVIRT"}

// names makes the names of chains; its value is the prefix "INSTANCE-".
type names string

func namesFor(instance string) (names, error) {
	if instance == "" {
		instance = defaultInstance
	}
	if len(instance) > maxInstance {
		return "", fmt.Errorf("%q is longer than %d characters", instance, maxInstance)
	}
	for i, c := range instance {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9' || i == 0) {
			return "", fmt.Errorf("%q must be upper-case letters and digits, and begin with a letter", instance)
		}
	}
	for _, r := range reserved {
		if instance == r {
			return "", fmt.Errorf("%q is taken by another program", instance)
		}
	}
	return names(instance + "-"), nil
}

// fixed returns the name of a chain that exists once.
func (n names) fixed(s string) string { return string(n) + s }

// hashed returns the name of a chain of one class that stands for parts. The hash of 75 bits or more
// makes names that clash a matter of billions of billions of services.
func (n names) hashed(class string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	h := base32.StdEncoding.EncodeToString(sum[:])
	name := string(n) + class + "-"
	return name + h[:min(16, maxChainName-len(name))]
}

// service returns the name of a chain of a service port: SVC spreads over the endpoints of the
// policy Cluster, SVL over those of Local, EXT receives from outside, FW filters by source.
func (n names) service(class string, p *ServicePort) string {
	return n.hashed(class, p.Namespace, p.Name, p.PortName, string(p.Protocol))
}

// endpoint returns the name of the chain that leads to one endpoint of a service port.
func (n names) endpoint(p *ServicePort, e Endpoint) string {
	return n.hashed("SEP", p.Namespace, p.Name, p.PortName, string(p.Protocol), e.Addr.String())
}

// branch returns the name of a chain of a dispatch tree: readable where the prefix is short.
func (n names) branch(class string, key string, bits int) string {
	name := fmt.Sprintf("%s%s-%s-%d", string(n), class, strings.ToUpper(hex.EncodeToString([]byte(key[:(bits+7)/8]))), bits)
	if len(name) <= maxChainName {
		return name
	}
	return n.hashed(class, key[:(bits+7)/8], fmt.Sprint(bits))
}

// comment returns a match that only carries a text for people.
func comment(s string) string {
	if len(s) <= maxComment && strings.IndexFunc(s, unprintable) < 0 {
		return `-m comment --comment "` + s + `"`
	}
	clean := strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '_'
		}
		return r
	}, s)
	return `-m comment --comment "` + clean[:min(len(clean), maxComment)] + `"`
}

// unprintable characters could end the text early, or be read differently by different versions.
func unprintable(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '\'' }
