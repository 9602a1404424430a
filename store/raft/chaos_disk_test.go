package raft_test

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// slowDisk is the disk, with syncs that can be slow or stand still.
type slowDisk struct {
	types.VFS
	delay  atomic.Int64 // nanoseconds
	frozen sync.RWMutex // held for writing while the disk stands still
}

func newSlowDisk() *slowDisk { return &slowDisk{VFS: fs.New()} }

func (d *slowDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := d.VFS.Create(dir, name, size)
	return slowFile{f, d}, err
}

func (d *slowDisk) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := d.VFS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	return slowFile{f, d}, nil
}

type slowFile struct {
	types.WritableFile
	disk *slowDisk
}

func (f slowFile) Sync() error {
	time.Sleep(time.Duration(f.disk.delay.Load()))
	f.disk.frozen.RLock()
	defer f.disk.frozen.RUnlock()
	return f.WritableFile.Sync()
}
