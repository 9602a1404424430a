package etcdapi

import (
	"context"
	"crypto/sha256"
	"hash"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// snapshotBlock is what a snapshot's size is a multiple of: etcdctl tells by the rest of 32 bytes that the
// checksum is there.
const snapshotBlock = 512

// Snapshot streams a backup of the store as store.VerifyBackup and store.OpenBackup read it, filled up with
// zeros and followed by its SHA-256, as etcd's are. Its size is not known before its end: remaining_bytes is 0.
func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	w := &snapshotWriter{stream: stream, sum: sha256.New(), header: s.nowHeader()}
	info, err := s.cfg.Store.Backup(ctx, w)
	switch {
	case w.failed != nil:
		return w.failed
	case err != nil:
		return toStatus(err)
	}
	if rest := info.Bytes % snapshotBlock; rest != 0 {
		if _, err := w.Write(make([]byte, snapshotBlock-rest)); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.send(w.sum.Sum(nil))
}

// snapshotWriter sends what is written to it in messages of a good size.
type snapshotWriter struct {
	stream pb.Maintenance_SnapshotServer
	header *pb.ResponseHeader // of the first message
	sum    hash.Hash
	buf    []byte
	failed error
}

func (w *snapshotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.buf == nil {
			// gRPC may keep a message that it was given: each has a buffer of its own.
			w.buf = make([]byte, 0, 64<<10)
		}
		fits := min(cap(w.buf)-len(w.buf), len(p))
		w.buf, p = append(w.buf, p[:fits]...), p[fits:]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

func (w *snapshotWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, _ = w.sum.Write(w.buf)
	blob := w.buf
	w.buf = nil
	return w.send(blob)
}

func (w *snapshotWriter) send(blob []byte) error {
	w.failed = w.stream.Send(&pb.SnapshotResponse{Header: w.header, Blob: blob, Version: protocolVersion})
	w.header = nil
	return w.failed
}
