// Package node compares the node authorizer and NodeRestriction with Kubernetes' own.
package node
