// Package process runs pods as plain processes of the host, without root. It is a kubelet.Runtime
// for machines on which the program has no privileges, and for tests.
//
// A container is a process group. Its program is looked up in its image's layers and runs on the
// host: it sees the host's files, processes and network, and its limits are not enforced. That
// suits static binaries, which need nothing of their image but themselves. What a container is
// told by its environment:
//
//   - POD_IP: the pod's own loopback address. A server should listen on it; one that listens on
//     all addresses is reached there too, but two of those can't share a port.
//   - CONTAINER_ROOT: a folder in which the container's mounts are symbolic links, since nothing can
//     be mounted: a volume mounted at /data is at $CONTAINER_ROOT/data.
//   - CONTAINER_ID: by which the processes of a container are found, those too that left its
//     process group.
//
// Pods in the host's network have no POD_IP. Host ports are refused.
package process
