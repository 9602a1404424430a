// Package inboard is an embeddable orchestrator: Kubernetes-style components as independent
// packages. See the packages below it.
package inboard
