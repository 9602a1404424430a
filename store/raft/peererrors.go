package raft

import (
	"context"
	"errors"
	"fmt"

	"github.com/inboard/inboard/store"
)

// Codes of errors in answers.
const (
	codeOther    = 0
	codeNoLeader = 1 // nothing happened
	codeUnknown  = 2
	codeNoLease  = 3
	codeInvalid  = 4
	codeTooLarge = 5
	codeNoMember = 6
	codeExists   = 7
	codeBehind   = 8
)

var errorCodes = []struct {
	code uint64
	err  error
}{
	{codeUnknown, store.ErrUnknownOutcome},
	{codeNoLeader, store.ErrNoLeader},
	{codeNoLease, store.ErrLeaseNotFound},
	{codeInvalid, store.ErrInvalid},
	{codeTooLarge, store.ErrTooLarge},
	{codeNoMember, ErrNoMember},
	{codeExists, ErrMemberExists},
	{codeBehind, ErrNotCaughtUp},
}

// appendError encodes an error for another member.
func appendError(f *fields, err error) *fields {
	for _, c := range errorCodes {
		if errors.Is(err, c.err) {
			return f.uint(c.code).string(err.Error())
		}
	}
	return f.uint(codeOther).string(err.Error())
}

// remoteError is an error that another member has answered with.
type remoteError struct {
	text string
	err  error // what it is to errors.Is
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.err }

// readError decodes what appendError wrote.
func readError(body []byte) error {
	r := fieldReader{b: body}
	code, text := r.uint(), r.string()
	if err := r.end(); err != nil {
		return err
	}
	for _, c := range errorCodes {
		if c.code == code {
			return &remoteError{text, c.err}
		}
	}
	return &remoteError{text, errRemote}
}

// errRemote is what another member failed with when it is none of the known errors.
var errRemote = errors.New("raft: the other member failed")

// errNotSent tells that a question did not reach the other member: it has not answered to our hello, or
// nothing was written.
var errNotSent = errors.New("raft: member not reached")

// errNoAnswer tells that a question was sent, and that it is not known what became of it.
var errNoAnswer = errors.New("raft: no answer from the member")

// errStopped tells that the node is being closed.
var errStopped = fmt.Errorf("%w: the node stops", store.ErrClosed)

// noAnswer makes the error of a question whose answer was not waited for.
func noAnswer(ctx context.Context) error { return fmt.Errorf("%w: %w", errNoAnswer, ctx.Err()) }
