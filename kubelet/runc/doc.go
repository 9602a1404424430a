// Package runc is a kubelet.Runtime of real containers: namespaces, cgroups, capabilities and
// overlay file systems by libcontainer, the library under Docker, containerd and CRI-O, without any
// of their daemons. Images come from package image, addresses from package network.
//
// A program that uses it calls Init first thing in main:
//
//	func main() {
//		runc.Init()
//		rt, err := runc.Open(runc.Config{Dir: "/var/lib/example"})
//		...
//		defer rt.Close()
//
// It needs Linux, root, cgo (libcontainer enters namespaces before the Go runtime starts, by a
// constructor in C) and iptables, unless Config.NoMasquerade is set and no pod has a host port. The
// build tag "seccomp" adds system call filters, and needs libseccomp's headers.
//
// Containers live no longer than the Runtime: Close kills them and leaves nothing. When the program
// is killed the kernel kills them with it, and the next Open removes what the kernel keeps.
package runc
