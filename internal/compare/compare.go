// Package compare holds the differences between this project's rows of kinds and Kubernetes' own
// code. It is a module of its own, so that k8s.io/kubernetes weighs on nobody who imports the
// project.
package compare
