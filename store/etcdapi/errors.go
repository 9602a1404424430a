package etcdapi

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/inboard/inboard/store"
)

// errorTable are the store's errors in etcd's words. The client tells errors by code and text, so both are
// those of rpctypes. An unknown outcome comes first: it wraps the reason.
var errorTable = []struct{ from, to error }{
	{store.ErrUnknownOutcome, rpctypes.ErrGRPCTimeout},
	{store.ErrCompacted, rpctypes.ErrGRPCCompacted},
	{store.ErrFutureRevision, rpctypes.ErrGRPCFutureRev},
	{store.ErrTooLarge, rpctypes.ErrGRPCRequestTooLarge},
	{store.ErrKeyNotFound, rpctypes.ErrGRPCKeyNotFound},
	{store.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound},
	{store.ErrLeaseExists, rpctypes.ErrGRPCLeaseExist},
	{store.ErrNoLeader, rpctypes.ErrGRPCNoLeader},
	{store.ErrClosed, rpctypes.ErrGRPCStopped},
	{context.DeadlineExceeded, rpctypes.ErrGRPCTimeout},
	{context.Canceled, rpctypes.ErrGRPCCanceled},
}

// toStatus puts an error of the store into etcd's words.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	for _, e := range errorTable {
		if errors.Is(err, e.from) {
			return e.to
		}
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, store.ErrInvalid) {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}
