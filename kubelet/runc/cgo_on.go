//go:build cgo

package runc

import _ "github.com/opencontainers/runc/libcontainer/nsenter" // joins namespaces before Go starts

const cgoEnabled = true
