package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The components, in the order in which they start.
const (
	apiServer   = "apiserver"
	theSched    = "scheduler"
	controllers = "controllers"
	theKubelet  = "kubelet"
	theProxy    = "proxy"
)

var allComponents = []string{apiServer, theSched, controllers, theKubelet, theProxy}

// The ways of authorization.
const (
	byComponents = "components"
	byRBAC       = "rbac"
)

const defaultServices = "10.96.0.0/16"

// options are what the flags say.
type options struct {
	dir, listen, kubeconfig string
	etcd, authorization     string
	components              []string
	runtime, node           string
	services, pods          netip.Prefix
	mirrors                 map[string]string
	history                 time.Duration
	demo, verbose           bool
	// left are components that were left out because this process may not run them.
	left string
}

func (o *options) has(component string) bool { return slices.Contains(o.components, component) }

// parse reads the flags. Errors name the flag, and say what to do.
func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{mirrors: map[string]string{}}
	fs := flag.NewFlagSet("cluster", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&o.dir, "dir", "", "directory for all state; empty: in memory, gone at the end")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:6443", "address of the API")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "where to write a kubeconfig (default: kubeconfig in the state directory);\nwithout the apiserver among the components: the kubeconfig to use")
	fs.StringVar(&o.etcd, "etcd", "", "loopback address to serve the store at as etcd does; whoever reaches it reads and writes\neverything, secrets too (default: not served)")
	fs.StringVar(&o.authorization, "authorization", byRBAC, "who may do what: rbac (roles and bindings, as in Kubernetes; pods get tokens of their service accounts)\nor components (the administrator and the parts of the cluster alone, by a fixed table)")
	components := fs.String("components", strings.Join(allComponents, ","), "what to run; the store comes with the apiserver")
	fs.StringVar(&o.runtime, "runtime", "runc", "how containers run: runc, or process (no root needed, no isolation)")
	fs.StringVar(&o.node, "node-name", "", "name of this node (default: the host's name)")
	services := fs.String("service-cidr", defaultServices, "addresses of services")
	pods := fs.String("pod-cidr", "", "addresses of pods (default 10.244.0.0/16; with -runtime process 127.64.0.0/16)")
	fs.DurationVar(&o.history, "history", 5*time.Minute, "how long what was can be read, by lists that go on and watches that come back; 0: as long\nas there is room")
	fs.Func("registry-mirror", "`host=URL`: ask URL in place of the registry host (repeatable)", o.addMirror)
	fs.BoolVar(&o.demo, "demo", true, "deploy three web servers and a service")
	fs.BoolVar(&o.verbose, "v", false, "log what the components do")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: see -help", fs.Arg(0))
	}
	o.components = strings.Split(*components, ",")
	explicit := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { explicit[f.Name] = true })
	if err := o.parseRanges(*services, *pods); err != nil {
		return nil, err
	}
	return o, o.check(explicit)
}

func (o *options) addMirror(s string) error {
	host, where, ok := strings.Cut(s, "=")
	if u, err := url.Parse(where); !ok || host == "" || err != nil || u.Host == "" || !strings.HasPrefix(u.Scheme, "http") {
		return errors.New("want host=URL, as in registry.example.com=http://127.0.0.1:5000")
	}
	o.mirrors[host] = where
	return nil
}

func (o *options) parseRanges(services, pods string) (err error) {
	if pods == "" {
		pods = map[string]string{"process": "127.64.0.0/16"}[o.runtime]
		pods = cmp.Or(pods, "10.244.0.0/16")
	}
	if o.services, err = netip.ParsePrefix(services); err != nil {
		return fmt.Errorf("-service-cidr: %w", err)
	}
	if o.pods, err = netip.ParsePrefix(pods); err != nil {
		return fmt.Errorf("-pod-cidr: %w", err)
	}
	if err := cmp.Or(checkRange("-service-cidr", o.services), checkRange("-pod-cidr", o.pods)); err != nil {
		return err
	}
	if o.services.Overlaps(o.pods) {
		return fmt.Errorf("-service-cidr %s and -pod-cidr %s overlap: choose others", o.services, o.pods)
	}
	return nil
}

func checkRange(flag string, p netip.Prefix) error {
	switch {
	case !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 29:
		return fmt.Errorf("%s %s: want an IPv4 range from /8 to /29", flag, p)
	case p != p.Masked():
		return fmt.Errorf("%s %s has host bits set; did you mean %s?", flag, p, p.Masked())
	}
	return nil
}

// check finds what can't work before anything starts.
func (o *options) check(explicit map[string]bool) error {
	for _, c := range o.components {
		if !slices.Contains(allComponents, c) {
			return fmt.Errorf("-components: there is no %q; choose from %s", c, strings.Join(allComponents, ","))
		}
	}
	if o.runtime != "runc" && o.runtime != "process" {
		return fmt.Errorf("-runtime: there is no %q; choose runc or process", o.runtime)
	}
	if o.authorization != byComponents && o.authorization != byRBAC {
		return fmt.Errorf("-authorization: there is no %q; choose components or rbac", o.authorization)
	}
	if o.history < 0 {
		return fmt.Errorf("-history %s is negative", o.history)
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return fmt.Errorf("-listen: %w; want address:port, as in 127.0.0.1:6443", err)
	}
	if err := o.checkEtcd(); err != nil {
		return err
	}
	if wrong := validation.IsDNS1123Subdomain(o.node); o.node != "" && len(wrong) > 0 {
		return fmt.Errorf("-node-name %q: %s", o.node, wrong[0])
	}
	if !o.has(apiServer) && o.kubeconfig == "" {
		return errors.New("without the apiserver among -components, -kubeconfig must say which one to use")
	}
	if !o.has(apiServer) || !o.has(theKubelet) {
		o.demo = false
	}
	return o.checkPrivileges(explicit)
}

// checkEtcd keeps an API that asks nobody who they are on this host.
func (o *options) checkEtcd() error {
	if o.etcd == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(o.etcd)
	if err != nil {
		return fmt.Errorf("-etcd: %w; want address:port, as in 127.0.0.1:2379", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("-etcd %s: this API asks nobody who they are: choose a loopback address, as 127.0.0.1:2379", o.etcd)
	}
	if !o.has(apiServer) {
		return errors.New("-etcd: the store comes with the apiserver, which is not among -components")
	}
	return nil
}

func (o *options) checkPrivileges(explicit map[string]bool) error {
	if os.Geteuid() == 0 {
		return nil
	}
	if o.has(theKubelet) && o.runtime == "runc" {
		return errors.New("-runtime runc needs root: run this with sudo, or with -runtime process")
	}
	if o.has(theProxy) {
		if explicit["components"] {
			return errors.New("the proxy needs root to write iptables rules: run this with sudo, or leave proxy out of -components")
		}
		o.components = slices.DeleteFunc(slices.Clone(o.components), func(c string) bool { return c == theProxy })
		o.left = "proxy (it needs root to write iptables rules)"
	}
	return nil
}
