package raft

import (
	"path/filepath"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// SetFiles gives the log another file system.
func (c *Config) SetFiles(files types.VFS) { c.hooks.files = files }

// SetStable puts something between raft and where it keeps its term and vote.
func (c *Config) SetStable(wrap func(raft.StableStore) raft.StableStore) { c.hooks.stable = wrap }

// Transport carries raft's messages.
type Transport = innerTransport

// SetTransport puts something between raft and what carries its messages.
func (c *Config) SetTransport(wrap func(Transport) Transport) { c.hooks.transport = wrap }

// EndWith makes one of raft's futures end when a channel is closed.
func EndWith(f raft.Future, halted chan struct{}) bool { return endWith(f, halted) }

// MarkInstalling notes in a directory that a snapshot is replacing the log.
func MarkInstalling(dir string, index uint64) error {
	m := metaFile{path: filepath.Join(dir, metaName)}
	if err := m.read(filepath.Join(dir, "log")); err != nil {
		return err
	}
	return m.installs(index)
}
