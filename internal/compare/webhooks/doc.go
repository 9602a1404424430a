// Package webhooks puts one server of admission webhooks behind a kube-apiserver and behind this library's, and compares
// what the two ask it and what they make of its answers.
package webhooks
