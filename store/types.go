package store

import (
	"errors"
	"fmt"
)

// LeaseID names a lease; 0 is no lease.
type LeaseID int64

// Event types.
const (
	EventPut EventType = iota
	EventDelete
)

// EventType tells what happened to a key.
type EventType uint8

// Event is one change of one key.
type Event struct {
	Type EventType
	// Entry is the key's new state. For a deletion it holds the key and, as ModRevision, the
	// revision of the deletion; its value is empty and its version 0.
	Entry *Entry
	// Prev is the key's state before the change, nil when it was created.
	Prev *Entry
}

// Batch is everything that one transaction changed, in the order in which it did.
type Batch struct {
	Revision int64
	Events   []Event
}

// Op is one operation of a transaction; make it with OpPut, OpDelete, OpDeletePrefix, OpGet, OpTxn, ...
type Op struct {
	Type OpType
	Key  string
	// End, when not empty, makes the operation one on the range [Key, End).
	End   string
	Value []byte
	Lease LeaseID
	// KeepValue and KeepLease make a put leave the key's value or lease as it is; the transaction fails
	// with ErrKeyNotFound when there is no such key.
	KeepValue, KeepLease bool
	// Txn is the transaction that a TypeTxn nests; it belongs to the same revision. Its conditions are asked,
	// like all, of the state before the outermost transaction.
	Txn *Txn
	// Limit bounds what a get on a range returns; 0 is no limit.
	Limit int
	// Decoded is what Entry.Decoded returns for the new entry on this replica, so that a
	// writer's own object is not decoded again. It is not replicated and must be immutable.
	Decoded any
}

// Operation types.
const (
	TypePut OpType = iota
	TypeDelete
	TypeGet
	TypeTxn
)

// OpType tells what an Op does.
type OpType uint8

// Compare is a condition on a key's state before the transaction, also in a nested one. A key that does
// not exist has version, revisions and lease 0, and no value: no condition on its value holds.
type Compare struct {
	Key string
	// End, when not empty, asks the condition of every key in [Key, End); where there is none, of one that
	// does not exist.
	End    string
	Target CompareTarget
	Result CompareResult
	// Number is compared with for all targets but the value.
	Number int64
	// Value is compared with for TargetValue.
	Value []byte
}

// What a Compare looks at.
const (
	TargetVersion CompareTarget = iota
	TargetCreateRevision
	TargetModRevision
	TargetLease
	TargetValue
)

// CompareTarget is the part of an entry that a Compare looks at.
type CompareTarget uint8

// How a Compare compares.
const (
	Equal CompareResult = iota
	NotEqual
	Less
	Greater
)

// CompareResult is the relation that a Compare asks for.
type CompareResult uint8

// Txn is an atomic transaction: when all of If hold, Then runs, else Else does. All its changes get
// one revision; a transaction that changes nothing uses none up.
type Txn struct {
	If   []Compare
	Then []Op
	Else []Op
}

// TxnResult is the outcome of a transaction.
type TxnResult struct {
	// Succeeded tells whether all conditions held.
	Succeeded bool
	// Revision is the store's revision after the transaction, a nested one's that of the outermost.
	Revision int64
	// Results has one element for each operation of the branch that ran.
	Results []OpResult
}

// OpResult is the outcome of one operation.
type OpResult struct {
	// Entries are the entries that a get found; for a put, the one new entry.
	Entries []*Entry
	// Prev are the entries that a put or a delete replaced.
	Prev []*Entry
	// Count is the number of entries in a get's range whatever its limit, or of those deleted.
	Count int
	// Txn is the outcome of a nested transaction.
	Txn *TxnResult
}

// Range asks for the entries of a key range, in key order.
type Range struct {
	// Key alone asks for one key; with End, for [Key, End). See Prefix.
	Key, End string
	// Revision reads the past; 0 is the newest revision.
	Revision int64
	// Limit bounds the number of entries returned; 0 is no limit.
	Limit int
	// SkipCount reads no further than the limit: Count is then the number of entries returned.
	SkipCount bool
	// Linearizable reads what everybody was told of before the call, wherever it was written; see
	// Store.Sync. Without it the read is of this replica's state, which on a follower may lag behind.
	Linearizable bool
}

// RangeResult is the answer to a Range.
type RangeResult struct {
	// Revision is the revision that was read.
	Revision int64
	// Entries are shared and read-only.
	Entries []*Entry
	// Count is the number of entries in the range, whatever the limit; see Range.SkipCount.
	Count int
	// More tells that the limit left entries out.
	More bool
}

// PrefixEnd returns the end of the range of all keys with the given prefix.
func PrefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\x00" // as in etcd: to the end of the key space
}

// Errors of this package; test with errors.Is.
var (
	ErrClosed = errors.New("store: closed")
	// ErrCompacted means that the revision asked for is older than what is kept.
	ErrCompacted = errors.New("store: revision compacted")
	// ErrFutureRevision means that the revision asked for does not exist yet.
	ErrFutureRevision = errors.New("store: revision is in the future")
	ErrTooLarge       = errors.New("store: request too large")
	// ErrInvalid means that the request is not a valid one, such as a put without a key.
	ErrInvalid = errors.New("store: invalid request")
	// ErrUnknownOutcome means that the caller stopped waiting for a change that may still
	// happen, or may have happened.
	ErrUnknownOutcome = errors.New("store: outcome unknown")
	// ErrNoLeader means that the replicated log takes no changes at the moment; nothing happened.
	ErrNoLeader = errors.New("store: no leader")
	// ErrLeaseNotFound and ErrLeaseExists tell of a lease that was never granted or is gone, and of an
	// id that is taken. Nothing happened.
	ErrLeaseNotFound = errors.New("store: lease not found")
	ErrLeaseExists   = errors.New("store: lease exists already")
	// ErrKeyNotFound means that a put with KeepValue or KeepLease has no key to keep it of. Nothing
	// happened.
	ErrKeyNotFound = errors.New("store: key not found")
	// ErrLocked means that another process has the store's directory open.
	ErrLocked = errors.New("store: directory is in use")
)

// CompactedError tells the oldest revision that can still be read; it is ErrCompacted to errors.Is.
type CompactedError struct{ Oldest int64 }

func (e *CompactedError) Error() string {
	return fmt.Sprintf("store: revision compacted; the oldest kept is %d", e.Oldest)
}

// Is makes errors.Is(e, ErrCompacted) true.
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }
