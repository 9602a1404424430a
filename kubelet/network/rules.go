package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/inboard/inboard/kubelet"
)

const rulesTimeout = 10 * time.Second

// chains of one owner; a name of a chain has at most 28 characters.
type chains struct{ post, ports, forward string }

func chainsOf(mark string) chains {
	return chains{post: "INBPOD-POST-" + mark, ports: "INBPOD-PORT-" + mark, forward: "INBPOD-FWD-" + mark}
}

// renderJumps is what Open loads: the owner's chains, and the jumps to them from the built-in ones.
func renderJumps(mark string) string {
	c := chainsOf(mark)
	return fmt.Sprintf(`*nat
:%[1]s - [0:0]
:%[2]s - [0:0]
-I POSTROUTING 1 -j %[1]s
-I PREROUTING 1 -m addrtype --dst-type LOCAL -j %[2]s
-I OUTPUT 1 -m addrtype --dst-type LOCAL -j %[2]s
COMMIT
*filter
:%[3]s - [0:0]
-I FORWARD 1 -j %[3]s
COMMIT
`, c.post, c.ports, c.forward)
}

// renderRules is the content of the chains. Declaring a chain empties it, and the whole of a table
// is applied at once.
func renderRules(mark, cidr, bridge string, masquerade bool, pods []*attachment) string {
	c := chainsOf(mark)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("*nat")
	line(":%s - [0:0]", c.post)
	line(":%s - [0:0]", c.ports)
	if masquerade {
		line("-A %s -s %s ! -d %s ! -o %s -j MASQUERADE --random-fully", c.post, cidr, cidr, bridge)
	}
	for _, a := range pods {
		if len(a.ports) == 0 {
			continue
		}
		// A pod that reaches itself through the node, and a process of the node that comes
		// from a loopback address, must be seen under an address that answers find.
		line("-A %s -s %s -d %s -j MASQUERADE", c.post, a.addr, a.addr)
		line("-A %s -s 127.0.0.0/8 -d %s -o %s -j MASQUERADE", c.post, a.addr, bridge)
		for _, p := range a.ports {
			line("-A %s%s -p %s --dport %d -j DNAT --to-destination %s:%d",
				c.ports, dstOf(p), strings.ToLower(p.Protocol), p.HostPort, a.addr, p.ContainerPort)
		}
	}
	line("COMMIT")
	line("*filter")
	line(":%s - [0:0]", c.forward)
	line("-A %s -i %s -j ACCEPT", c.forward, bridge)
	line("-A %s -o %s -j ACCEPT", c.forward, bridge)
	line("COMMIT")
	return b.String()
}

func dstOf(p kubelet.PortMapping) string {
	if addr, err := netip.ParseAddr(p.HostIP); err == nil && addr.Is4() && !addr.IsUnspecified() {
		return " -d " + addr.String()
	}
	return ""
}

// renderPurge deletes a mark's chains and the jumps to them, from what iptables-save printed. It
// is empty when there are none.
func renderPurge(mark, saved string) string {
	var b strings.Builder
	var table string
	var jumps, names []string
	for l := range strings.Lines(saved) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "*"):
			table, jumps, names = l, nil, nil
		case strings.HasPrefix(l, ":INBPOD-") && strings.Contains(l, "-"+mark+" "):
			names = append(names, strings.TrimPrefix(strings.Fields(l)[0], ":"))
		case strings.HasPrefix(l, "-A ") && !strings.HasPrefix(l, "-A INBPOD-") && strings.Contains(l, "-j INBPOD-") && strings.HasSuffix(l, "-"+mark):
			jumps = append(jumps, "-D "+strings.TrimPrefix(l, "-A "))
		case l == "COMMIT" && len(names)+len(jumps) > 0:
			fmt.Fprintln(&b, table)
			for _, name := range names {
				fmt.Fprintf(&b, ":%s - [0:0]\n", name) // empties it
			}
			for _, j := range jumps {
				fmt.Fprintln(&b, j)
			}
			for _, name := range names {
				fmt.Fprintln(&b, "-X "+name)
			}
			fmt.Fprintln(&b, "COMMIT")
		}
	}
	return b.String()
}

func (n *Network) makeRules() error {
	n.rules = true
	if err := n.restore(renderJumps(n.mark) + n.render()); err != nil {
		return fmt.Errorf("network: masquerade the pods' traffic: %w", err)
	}
	return nil
}

func (n *Network) render() string {
	pods := make([]*attachment, 0, len(n.pods))
	for _, a := range n.pods {
		pods = append(pods, a)
	}
	slices.SortFunc(pods, func(a, b *attachment) int { return a.addr.Compare(b.addr) })
	return renderRules(n.mark, n.cfg.PodCIDR.String(), n.bridge.Attrs().Name, !n.cfg.NoMasquerade, pods)
}

// applyPorts wants n.mu held.
func (n *Network) applyPorts() error {
	if !n.rules {
		if err := n.makeRules(); err != nil {
			return err
		}
	}
	// Without it, packets of the node's own to 127.0.0.1 cannot leave for a pod.
	err := n.host.do(func() error { return writeSysctl("net/ipv4/conf/"+n.bridge.Attrs().Name+"/route_localnet", "1") })
	return errors.Join(err, n.restore(n.render()))
}

// checkPorts refuses a port of the node that another pod has, and malformed ones. It wants n.mu
// held.
func (n *Network) checkPorts(ports []kubelet.PortMapping) error {
	var taken []kubelet.PortMapping
	for _, a := range n.pods {
		taken = append(taken, a.ports...)
	}
	for _, p := range ports {
		if p.Protocol != "TCP" && p.Protocol != "UDP" {
			return fmt.Errorf("network: host port %d: protocol %q is not TCP or UDP", p.HostPort, p.Protocol)
		}
		if p.HostPort == 0 || p.ContainerPort == 0 {
			return fmt.Errorf("network: host port %d to %d: a port must not be 0", p.HostPort, p.ContainerPort)
		}
		for _, q := range taken {
			if p.Protocol == q.Protocol && p.HostPort == q.HostPort && (dstOf(p) == "" || dstOf(q) == "" || dstOf(p) == dstOf(q)) {
				return fmt.Errorf("network: host port %d/%s is in use by another pod", p.HostPort, p.Protocol)
			}
		}
		taken = append(taken, p)
	}
	return nil
}

// purgeRules removes all that belongs to the owner, whoever made it.
func (n *Network) purgeRules() error {
	saved, err := n.run("iptables-save", "", "-t", "nat")
	if err != nil {
		return err
	}
	filter, err := n.run("iptables-save", "", "-t", "filter")
	if err != nil {
		return err
	}
	script := renderPurge(n.mark, saved+filter)
	if script == "" {
		return nil
	}
	return n.restore(script)
}

func (n *Network) restore(script string) error {
	_, err := n.run("iptables-restore", script, "--noflush", "--wait", "5")
	return err
}

// runTries is how often a program is run that a signal ends.
const runTries = 5

// run runs a program of iptables in the host's namespace. Ctrl-C in a terminal goes to the whole process
// group, when rules are still to be removed: programs get a group of their own, and are run again when
// they were hit before they had it.
func (n *Network) run(program, stdin string, args ...string) (out string, err error) {
	path, err := lookup(program)
	if err != nil {
		return "", err
	}
	for range runTries {
		out, err = n.runOnce(path, stdin, args...)
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || exit.Exited() {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return out, nil
}

func (n *Network) runOnce(path, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), rulesTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A process belongs to the namespace of the thread that starts it.
	err := n.host.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// lookup also looks where administration programs are, which PATH may lack.
func lookup(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: install the package iptables, or switch masquerading off", program)
}
