// Package openapi compares the schemas that a server publishes with those of a real kube-apiserver.
package openapi
