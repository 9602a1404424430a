// Package policy compares admission policies with kube-apiserver's: the stories of apiserver/policy read the same there,
// and random policies, good and bad, treat requests alike.
package policy
