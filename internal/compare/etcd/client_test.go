package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/inboard/inboard/store"
	"github.com/inboard/inboard/store/storetest"
)

// remote is a store behind etcd's own client, for storetest's suite.
type remote struct{ *clientv3.Client }

var _ storetest.Store = remote{}

// errorOf is package store's name for what etcd's client says.
func errorOf(err error) error {
	err = rpctypes.Error(err)
	for _, known := range []struct{ theirs, ours error }{
		{rpctypes.ErrCompacted, store.ErrCompacted}, {rpctypes.ErrFutureRev, store.ErrFutureRevision},
		{rpctypes.ErrEmptyKey, store.ErrInvalid}, {rpctypes.ErrDuplicateKey, store.ErrInvalid},
		{rpctypes.ErrTooManyOps, store.ErrInvalid}, {rpctypes.ErrValueProvided, store.ErrInvalid},
		{rpctypes.ErrLeaseProvided, store.ErrInvalid}, {rpctypes.ErrKeyNotFound, store.ErrKeyNotFound},
		{rpctypes.ErrLeaseNotFound, store.ErrLeaseNotFound}, {rpctypes.ErrLeaseExist, store.ErrLeaseExists},
		{rpctypes.ErrRequestTooLarge, store.ErrTooLarge},
	} {
		if errors.Is(err, known.theirs) {
			return fmt.Errorf("%w: %w", known.ours, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "larger than max") { // told by the client itself
		return fmt.Errorf("%w: %w", store.ErrTooLarge, err)
	}
	return err
}

// firstKey is the first of a range: etcd has no empty key, and takes no empty beginning.
func firstKey(key, end string) string {
	if key == "" && end != "" {
		return "\x00"
	}
	return key
}

func (r remote) Txn(ctx context.Context, t store.Txn) (store.TxnResult, error) {
	resp, err := r.Client.Txn(ctx).If(compares(t.If)...).Then(operations(t.Then)...).Else(operations(t.Else)...).Commit()
	if err != nil {
		return store.TxnResult{}, errorOf(err)
	}
	return result(t, (*pb.TxnResponse)(resp), resp.Header.Revision), nil
}

func compares(list []store.Compare) []clientv3.Cmp {
	var cmps []clientv3.Cmp
	for _, c := range list {
		key, relation := firstKey(c.Key, c.End), map[store.CompareResult]string{
			store.Equal: "=", store.NotEqual: "!=", store.Less: "<", store.Greater: ">",
		}[c.Result]
		var target clientv3.Cmp
		var with any = c.Number
		switch c.Target {
		case store.TargetVersion:
			target = clientv3.Version(key)
		case store.TargetCreateRevision:
			target = clientv3.CreateRevision(key)
		case store.TargetModRevision:
			target = clientv3.ModRevision(key)
		case store.TargetLease:
			target = clientv3.LeaseValue(key)
		case store.TargetValue:
			target, with = clientv3.Value(key), string(c.Value)
		}
		cmp := clientv3.Compare(target, relation, with)
		if c.End != "" {
			cmp = cmp.WithRange(c.End)
		}
		cmps = append(cmps, cmp)
	}
	return cmps
}

func operations(list []store.Op) []clientv3.Op {
	var ops []clientv3.Op
	for _, op := range list {
		key := firstKey(op.Key, op.End)
		var opts []clientv3.OpOption
		if op.End != "" {
			opts = append(opts, clientv3.WithRange(op.End))
		}
		switch op.Type {
		case store.TypeGet:
			ops = append(ops, clientv3.OpGet(key, append(opts, clientv3.WithLimit(int64(op.Limit)))...))
		case store.TypeDelete:
			ops = append(ops, clientv3.OpDelete(key, append(opts, clientv3.WithPrevKV())...))
		case store.TypeTxn:
			ops = append(ops, clientv3.OpTxn(compares(op.Txn.If), operations(op.Txn.Then), operations(op.Txn.Else)))
		case store.TypePut:
			opts = []clientv3.OpOption{clientv3.WithPrevKV(), clientv3.WithLease(clientv3.LeaseID(op.Lease))}
			if op.KeepValue {
				opts = append(opts, clientv3.WithIgnoreValue())
			}
			if op.KeepLease {
				opts = append(opts, clientv3.WithIgnoreLease())
			}
			ops = append(ops, clientv3.OpPut(key, string(op.Value), opts...))
		}
	}
	return ops
}

func result(t store.Txn, resp *pb.TxnResponse, rev int64) store.TxnResult {
	res := store.TxnResult{Succeeded: resp.Succeeded, Revision: rev}
	ops := t.Then
	if !resp.Succeeded {
		ops = t.Else
	}
	for i, r := range resp.Responses {
		var out store.OpResult
		switch ops[i].Type {
		case store.TypeGet:
			out.Entries, out.Count = entries(r.GetResponseRange().Kvs), int(r.GetResponseRange().Count)
		case store.TypeDelete:
			out.Prev, out.Count = entries(r.GetResponseDeleteRange().PrevKvs), int(r.GetResponseDeleteRange().Deleted)
		case store.TypePut:
			if prev := r.GetResponsePut().PrevKv; prev != nil {
				out.Prev = entries([]*mvccpb.KeyValue{prev})
			}
		case store.TypeTxn:
			nested := result(*ops[i].Txn, r.GetResponseTxn(), rev)
			out.Txn = &nested
		}
		res.Results = append(res.Results, out)
	}
	return res
}

func entries(kvs []*mvccpb.KeyValue) []*store.Entry {
	var list []*store.Entry
	for _, kv := range kvs {
		list = append(list, &store.Entry{
			Key: string(kv.Key), Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
			Version: kv.Version, Lease: store.LeaseID(kv.Lease),
		})
	}
	return list
}

func (r remote) Range(ctx context.Context, q store.Range) (store.RangeResult, error) {
	opts := []clientv3.OpOption{clientv3.WithRev(q.Revision), clientv3.WithLimit(int64(q.Limit))}
	if q.End != "" {
		opts = append(opts, clientv3.WithRange(q.End))
	}
	if !q.Linearizable {
		opts = append(opts, clientv3.WithSerializable())
	}
	resp, err := r.Client.Get(ctx, firstKey(q.Key, q.End), opts...)
	if err != nil {
		return store.RangeResult{}, errorOf(err)
	}
	rev := resp.Header.Revision // the newest, whatever was read
	if q.Revision != 0 {
		rev = q.Revision
	}
	return store.RangeResult{Revision: rev, Entries: entries(resp.Kvs), Count: int(resp.Count), More: resp.More}, nil
}

func (r remote) Compact(ctx context.Context, rev int64) error {
	_, err := r.Client.Compact(ctx, rev)
	return errorOf(err)
}

// Grant speaks without the client's help, which chooses all ids itself.
func (r remote) Grant(ctx context.Context, id store.LeaseID, ttl time.Duration) (store.LeaseID, error) {
	resp, err := pb.NewLeaseClient(r.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: int64(id), TTL: int64(ttl / time.Second)})
	if err != nil {
		return 0, errorOf(err)
	}
	return store.LeaseID(resp.ID), nil
}

func (r remote) Revoke(ctx context.Context, id store.LeaseID) error {
	_, err := r.Client.Revoke(ctx, clientv3.LeaseID(id))
	return errorOf(err)
}

func (r remote) KeepAlive(ctx context.Context, id store.LeaseID) (time.Duration, error) {
	resp, err := r.Client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	if err != nil {
		return 0, errorOf(err)
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

func (r remote) Lease(ctx context.Context, id store.LeaseID) (store.LeaseInfo, error) {
	resp, err := r.Client.TimeToLive(ctx, clientv3.LeaseID(id), clientv3.WithAttachedKeys())
	if err != nil {
		return store.LeaseInfo{}, errorOf(err)
	}
	if resp.TTL < 0 {
		return store.LeaseInfo{}, store.ErrLeaseNotFound
	}
	info := store.LeaseInfo{ID: id, TTL: time.Duration(resp.GrantedTTL) * time.Second, Remaining: time.Duration(resp.TTL) * time.Second}
	for _, key := range resp.Keys {
		info.Keys = append(info.Keys, string(key))
	}
	slices.Sort(info.Keys)
	return info, nil
}

func (r remote) Leases(ctx context.Context) ([]store.LeaseID, error) {
	resp, err := r.Client.Leases(ctx)
	if err != nil {
		return nil, errorOf(err)
	}
	var ids []store.LeaseID
	for _, l := range resp.Leases {
		ids = append(ids, store.LeaseID(l.ID))
	}
	slices.Sort(ids)
	return ids, nil
}

func (r remote) Sync(ctx context.Context) error {
	_, err := r.Client.Get(ctx, "of no interest")
	return errorOf(err)
}
