// Package certificates compares package controller/certificates with kube-controller-manager's code: which requests
// its signers take, and the certificates that they make.
package certificates
