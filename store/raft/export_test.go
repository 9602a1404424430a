package raft

import "github.com/hashicorp/raft-wal/types"

// SetFiles gives the log another file system.
func (c *Config) SetFiles(files types.VFS) { c.hooks.files = files }
