package apiserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// Claims are keys of their own: whoever makes the key has the address or port. They are made and
// removed in the transaction that stores or removes their object.
const (
	claimRoot = "/claims/"
	ipClaims  = claimRoot + "serviceips/"
	portClaim = claimRoot + "nodeports/"
)

// randomPicks is how often a free address or port is looked for at random before all are looked at.
const randomPicks = 16

// claims collects what one write claims and gives up. It implements Allocator.
type claims struct {
	ctx      context.Context
	server   *Server
	owner    string
	taken    map[string]bool
	released map[string]bool
}

var _ Allocator = (*claims)(nil)

// allocate lets the row claim what the object needs; obj nil gives up what old has.
func (s *Server) allocate(ctx context.Context, rq *request, obj, old client.Object) (*claims, error) {
	if rq.res.Allocate == nil || rq.ref.Subresource == "status" {
		return nil, nil
	}
	c := &claims{ctx: ctx, server: s, owner: rq.key(), taken: map[string]bool{}, released: map[string]bool{}}
	if err := rq.res.Allocate(ctx, c, obj, old); err != nil {
		var fieldError *field.Error
		if errors.As(err, &fieldError) && obj != nil {
			return nil, rq.invalid(obj, field.ErrorList{fieldError})
		}
		return nil, asStatus(err)
	}
	return c, nil
}

// conditions are those under which the claims hold.
func (c *claims) conditions() []store.Compare {
	var out []store.Compare
	for key := range c.taken {
		if !c.released[key] {
			out = append(out, store.IfMissing(key))
		}
	}
	return out
}

// ops make and remove the keys of the claims.
func (c *claims) ops() []store.Op {
	var out []store.Op
	for key := range c.taken {
		if !c.released[key] {
			out = append(out, store.OpPut(key, []byte(c.owner)))
		}
	}
	for key := range c.released {
		if !c.taken[key] {
			out = append(out, store.OpDelete(key))
		}
	}
	return out
}

// free tells whether nobody else has claimed a key.
func (c *claims) free(key string) (bool, error) {
	if c.taken[key] {
		return false, nil
	}
	e, _, err := c.server.store.Get(c.ctx, key)
	return e == nil || c.released[key], storeError(err, 0)
}

var (
	clusterIPPath = field.NewPath("spec", "clusterIPs")
	nodePortPath  = field.NewPath("spec", "ports").Child("nodePort")
)

// Family returns the family of the service range.
func (c *claims) Family() corev1.IPFamily { return c.server.serviceFamily() }

// serviceFamily is the family of the service range, the cluster's first one.
func (s *Server) serviceFamily() corev1.IPFamily {
	if s.cfg.ServiceCIDR.Addr().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// IP claims an address of the service range.
func (c *claims) IP(want string) (string, error) {
	cidr := c.server.cfg.ServiceCIDR
	if want == "" {
		return c.anyIP(cidr)
	}
	ip, err := netip.ParseAddr(want)
	if err != nil {
		return "", field.Invalid(clusterIPPath, want, "must be a valid IP address")
	}
	if !usable(cidr, ip) {
		return "", field.Invalid(clusterIPPath, want, "the provided network does not match the current range")
	}
	free, err := c.free(ipClaims + ip.String())
	switch {
	case err != nil:
		return "", field.InternalError(clusterIPPath, err)
	case !free:
		return "", field.Invalid(clusterIPPath, want, "provided IP is already allocated")
	}
	c.taken[ipClaims+ip.String()] = true
	return ip.String(), nil
}

func (c *claims) anyIP(cidr netip.Prefix) (string, error) {
	for i := range randomPicks {
		ip := randomAddr(cidr)
		// The lower part of the range is left for addresses that are chosen by hand, as in
		// Kubernetes.
		if !usable(cidr, ip) || i < randomPicks/2 && below16(cidr, ip) {
			continue
		}
		if ok, err := c.takeIP(ip); err != nil || ok {
			return ip.String(), err
		}
	}
	for ip := cidr.Addr().Next(); cidr.Contains(ip); ip = ip.Next() {
		if !usable(cidr, ip) {
			continue
		}
		if ok, err := c.takeIP(ip); err != nil || ok {
			return ip.String(), err
		}
	}
	return "", field.InternalError(clusterIPPath, errors.New("range is full"))
}

func (c *claims) takeIP(ip netip.Addr) (bool, error) {
	key := ipClaims + ip.String()
	free, err := c.free(key)
	if err != nil || !free {
		return false, err
	}
	c.taken[key] = true
	return true, nil
}

// ReleaseIP gives an address up.
func (c *claims) ReleaseIP(ip string) {
	if addr, err := netip.ParseAddr(ip); err == nil {
		c.released[ipClaims+addr.String()] = true
	}
}

// NodePort claims a port of the node port range. A number has one owner whatever the protocol, as in
// Kubernetes: protocol only tells what it is for.
func (c *claims) NodePort(want int32, _ string) (int32, error) {
	r := c.server.cfg.NodePorts
	if want == 0 {
		return c.anyPort(r)
	}
	if want < r.First || want > r.Last {
		return 0, field.Invalid(nodePortPath, want, fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %s", r))
	}
	ok, err := c.takePort(want)
	switch {
	case err != nil:
		return 0, field.InternalError(nodePortPath, err)
	case !ok:
		return 0, field.Invalid(nodePortPath, want, "provided port is already allocated")
	}
	return want, nil
}

func (c *claims) anyPort(r PortRange) (int32, error) {
	for range randomPicks {
		port := r.First + rand.Int32N(r.Last-r.First+1)
		if ok, err := c.takePort(port); err != nil || ok {
			return port, err
		}
	}
	for port := r.First; port <= r.Last; port++ {
		if ok, err := c.takePort(port); err != nil || ok {
			return port, err
		}
	}
	return 0, field.InternalError(nodePortPath, errors.New("range is full"))
}

func portKey(port int32) string { return portClaim + strconv.Itoa(int(port)) }

func (c *claims) takePort(port int32) (bool, error) {
	free, err := c.free(portKey(port))
	if err != nil || !free {
		return false, err
	}
	c.taken[portKey(port)] = true
	return true, nil
}

// ReleaseNodePort gives a port up.
func (c *claims) ReleaseNodePort(port int32, _ string) { c.released[portKey(port)] = true }
