// Package aggregate holds package apiserver/aggregate to Kubernetes: a real extension API server behind it, and a real
// kube-apiserver beside it.
package aggregate
