// Package network connects pods to their node: one Linux bridge, a pair of virtual Ethernet devices
// and an address for each pod, the way from pods to elsewhere through the node's address, and ports
// of the node that lead to a pod.
//
// It speaks netlink itself; the only program it runs is iptables-restore (with iptables-save), and
// only for masquerading and host ports. It remembers nothing on disk: each link carries its owner
// and what is to be restored in its alias, so that Open can remove what a killed program left.
package network
