// Package managed compares server-side apply with that of a real kube-apiserver: the schemas by which
// objects are merged, and who manages which field after random sequences of writes.
package managed
