//go:build !cgo

package runc

const cgoEnabled = false
