// Package metrics compares what a server tells at /metrics with what a real kube-apiserver tells after the same
// requests.
package metrics
