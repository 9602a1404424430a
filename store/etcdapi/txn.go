package etcdapi

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/inboard/inboard/store"
)

// txnCall is one transaction on its way.
type txnCall struct {
	store   *store.Store
	request *pb.TxnRequest
	// past are the ranges of the past that the transaction reads, once read. The past does not change, so
	// they need not be read within the transaction.
	past map[*pb.RangeRequest]*store.RangeResult
	// revision is the one that the changes made so far have, base when there are none.
	base, revision int64
}

func (c *txnCall) run(ctx context.Context) (*pb.TxnResponse, error) {
	readOnly, serializable := kindOf(c.request)
	if readOnly && !serializable {
		if err := c.store.Sync(ctx); err != nil {
			return nil, err
		}
	}
	if !readOnly {
		// What cannot be read must be known before anything changes. etcd looks at the branch that is
		// taken only; here both have to be readable.
		if err := c.readPast(ctx, c.request); err != nil {
			return nil, err
		}
	}
	res, err := c.store.Txn(ctx, toTxn(c.request))
	if err != nil {
		return nil, err
	}
	if c.base = res.Revision; changed(c.request, &res) {
		c.base--
	}
	c.revision = c.base
	resp, err := c.response(ctx, c.request, &res)
	if err != nil {
		return nil, err
	}
	resp.Header = &pb.ResponseHeader{Revision: res.Revision}
	return resp, nil
}

// kindOf tells whether a transaction only reads, and whether all its reads may be of this replica's state.
func kindOf(r *pb.TxnRequest) (readOnly, serializable bool) {
	readOnly, serializable = true, true
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			switch r := op.Request.(type) {
			case *pb.RequestOp_RequestRange:
				serializable = serializable && r.RequestRange.Serializable
			case *pb.RequestOp_RequestTxn:
				nestedReads, nestedSerializable := kindOf(r.RequestTxn)
				readOnly, serializable = readOnly && nestedReads, serializable && nestedSerializable
			default:
				readOnly = false
			}
		}
	}
	return readOnly, serializable
}

// readPast reads the ranges of the past in both branches.
func (c *txnCall) readPast(ctx context.Context, r *pb.TxnRequest) error {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			switch r := op.Request.(type) {
			case *pb.RequestOp_RequestRange:
				if _, err := c.readAt(ctx, r.RequestRange); err != nil {
					return err
				}
			case *pb.RequestOp_RequestTxn:
				if err := c.readPast(ctx, r.RequestTxn); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readAt reads a range of the past, once; nil when it is one of now.
func (c *txnCall) readAt(ctx context.Context, r *pb.RangeRequest) (*store.RangeResult, error) {
	switch {
	case r.Revision == 0:
		return nil, nil
	case r.Revision < 0:
		return nil, store.ErrCompacted // as etcd says in transactions only
	}
	if res := c.past[r]; res != nil {
		return res, nil
	}
	rg := toRange(r)
	rg.Linearizable = false // the whole transaction is, if need be
	res, err := c.store.Range(ctx, rg)
	if err != nil {
		return nil, err
	}
	if c.past == nil {
		c.past = map[*pb.RangeRequest]*store.RangeResult{}
	}
	c.past[r] = &res
	return &res, nil
}

func branch(r *pb.TxnRequest, res *store.TxnResult) []*pb.RequestOp {
	if res.Succeeded {
		return r.Success
	}
	return r.Failure
}

// changed tells whether a transaction used up a revision.
func changed(r *pb.TxnRequest, res *store.TxnResult) bool {
	for i, op := range branch(r, res) {
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestPut:
			return true
		case *pb.RequestOp_RequestDeleteRange:
			if res.Results[i].Count > 0 {
				return true
			}
		case *pb.RequestOp_RequestTxn:
			if changed(r.RequestTxn, res.Results[i].Txn) {
				return true
			}
		}
	}
	return false
}

// response makes the answer, whose parts tell the revision of the changes up to them.
func (c *txnCall) response(ctx context.Context, r *pb.TxnRequest, res *store.TxnResult) (*pb.TxnResponse, error) {
	ops := branch(r, res)
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: res.Succeeded, Responses: make([]*pb.ResponseOp, len(ops))}
	for i, op := range ops {
		part, err := c.part(ctx, op, &res.Results[i])
		if err != nil {
			return nil, err
		}
		resp.Responses[i] = part
	}
	return resp, nil
}

func (c *txnCall) part(ctx context.Context, op *pb.RequestOp, res *store.OpResult) (*pb.ResponseOp, error) {
	switch r := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		resp, err := c.rangePart(ctx, r.RequestRange, res)
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: resp}}, err
	case *pb.RequestOp_RequestPut:
		c.revision = c.base + 1
		resp := putResponse(r.RequestPut, res)
		resp.Header = c.header()
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: resp}}, nil
	case *pb.RequestOp_RequestDeleteRange:
		if res.Count > 0 {
			c.revision = c.base + 1
		}
		resp := deleteResponse(r.RequestDeleteRange, res)
		resp.Header = c.header()
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: resp}}, nil
	case *pb.RequestOp_RequestTxn:
		resp, err := c.response(ctx, r.RequestTxn, res.Txn)
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: resp}}, err
	}
	return nil, store.ErrInvalid // checkTxn refuses it
}

func (c *txnCall) header() *pb.ResponseHeader { return &pb.ResponseHeader{Revision: c.revision} }

func (c *txnCall) rangePart(ctx context.Context, r *pb.RangeRequest, res *store.OpResult) (*pb.RangeResponse, error) {
	entries, count := res.Entries, res.Count
	if r.Revision > c.base {
		return nil, store.ErrFutureRevision
	}
	past, err := c.readAt(ctx, r)
	if err != nil {
		return nil, err
	}
	if past != nil {
		entries, count = past.Entries, past.Count
	}
	resp := rangeResponse(r, entries, count)
	resp.Header = c.header()
	return resp, nil
}
