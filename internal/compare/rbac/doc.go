// Package rbac holds tests that compare apiserver/rbac with kube-apiserver's own authorizer, checks against
// escalation and default policy.
package rbac
