//go:build !seccomp

package runc_test

const withSeccomp = false
