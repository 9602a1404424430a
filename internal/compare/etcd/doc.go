// Package etcd holds store/etcdapi to a real etcd: the same requests to both, the official client, etcdctl,
// and a real kube-apiserver on a store.
package etcd
