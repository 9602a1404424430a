// Package iptables brings the rules of package proxy into the kernel. Rules go through
// iptables-restore, only those that changed; the few jumps that lead to them are kept, checked and
// removed by go-iptables. It works with both kinds of iptables, nf_tables and legacy, for IPv4 and
// IPv6, in the network namespace of the calling thread.
//
// It needs Linux, the programs of the package "iptables", and root or CAP_NET_ADMIN.
package iptables
