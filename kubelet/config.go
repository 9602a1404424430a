package kubelet

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/inboard/inboard/apiserver/client"
)

// Config configures a Kubelet. Client, Runtime and Dir are required.
type Config struct {
	// Client reaches the API; the kubelet acts under its identity.
	Client client.Interface
	// Runtime runs the pods. Run closes it when it stops, so that nothing is left.
	Runtime Runtime
	// NodeName is the node's name; the default is the host's name in lower case.
	NodeName string
	// Dir is where volumes and logs go, in the folders pods and logs, which Run empties when it
	// begins and removes when it stops.
	Dir string
	// NodeIPs are the node's addresses, the primary one first. The default is the host's first
	// global unicast address, or 127.0.0.1.
	NodeIPs []net.IP
	// Capacity replaces what was found out about the node, resource by resource.
	Capacity corev1.ResourceList
	// Reserved is kept from pods: allocatable is the capacity less this.
	Reserved corev1.ResourceList
	// Labels and Taints are given to the node when it is registered; Labels on each start.
	Labels map[string]string
	Taints []corev1.Taint
	// MaxPods is the largest number of pods; default 110.
	MaxPods int
	// ClusterDNS are the servers of pods with dnsPolicy ClusterFirst; none means that those get
	// the node's. ClusterDomain is the domain of services; default cluster.local.
	ClusterDNS    []string
	ClusterDomain string
	// ResolvConf is the node's resolver configuration; default /etc/resolv.conf.
	ResolvConf string
	// Server is the kubelet's HTTPS API, which kubectl logs goes through.
	Server ServerConfig
	// Logger receives what an operator should know; nil discards.
	Logger *slog.Logger
}

// ServerConfig configures the kubelet's HTTPS API.
type ServerConfig struct {
	// Listener accepts connections; the kubelet closes it. Nil means Address.
	Listener net.Listener
	// Address is the address to listen on; default ":10250".
	Address string
	// TLS needs a certificate and ClientCAs: a client certificate that they signed is always
	// required. Without TLS there is no server, and no logs by the API.
	TLS *tls.Config
	// Allow tells from the common name and the organizations of its certificate whether a client may
	// read all there is. The default lets API servers in, as kubeadm and others name them:
	// kube-apiserver, kube-apiserver-kubelet-client, the groups system:masters and
	// kubeadm:cluster-admins.
	Allow func(user string, groups []string) bool
}

func (c Config) withDefaults() (Config, error) {
	if c.NodeName == "" {
		h, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("kubelet: Config.NodeName is empty and the host has no name: %w", err)
		}
		c.NodeName = strings.ToLower(h)
	}
	if len(c.NodeIPs) == 0 {
		c.NodeIPs = []net.IP{hostIP()}
	}
	if c.MaxPods == 0 {
		c.MaxPods = 110
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.Server.Address == "" {
		c.Server.Address = ":10250"
	}
	if c.Server.Allow == nil {
		c.Server.Allow = allowAPIServers
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dir != "" {
		abs, err := filepath.Abs(c.Dir)
		if err != nil {
			return c, fmt.Errorf("kubelet: Config.Dir: %w", err)
		}
		c.Dir = abs
	}
	return c, nil
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("kubelet: Config.Client is nil")
	case c.Runtime == nil:
		return errors.New("kubelet: Config.Runtime is nil")
	case c.Dir == "":
		return errors.New("kubelet: Config.Dir is empty; name a folder for volumes and logs")
	case c.MaxPods < 0:
		return fmt.Errorf("kubelet: Config.MaxPods is %d, less than 0", c.MaxPods)
	}
	if errs := validation.IsDNS1123Subdomain(c.NodeName); len(errs) > 0 {
		return fmt.Errorf("kubelet: Config.NodeName %q: %s", c.NodeName, errs[0])
	}
	for k, v := range c.Labels {
		if errs := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)...); len(errs) > 0 {
			return fmt.Errorf("kubelet: Config.Labels %s=%s: %s", k, v, errs[0])
		}
	}
	for _, s := range c.ClusterDNS {
		if net.ParseIP(s) == nil {
			return fmt.Errorf("kubelet: Config.ClusterDNS %q is not an IP address", s)
		}
	}
	if t := c.Server.TLS; t != nil {
		if len(t.Certificates) == 0 && t.GetCertificate == nil {
			return errors.New("kubelet: Config.Server.TLS has no certificate")
		}
		if t.ClientCAs == nil {
			return errors.New("kubelet: Config.Server.TLS.ClientCAs is nil; anybody could read logs")
		}
	}
	return nil
}

// hostIP returns the host's first global unicast IPv4 address, or 127.0.0.1.
func hostIP() net.IP {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
				return n.IP
			}
		}
	}
	return net.IPv4(127, 0, 0, 1)
}
