package main

import (
	"context"
	"errors"
	"testing"
)

// TestWhileRunning: the end of the cluster ends what runs against it, and is still told to who stops the cluster.
func TestWhileRunning(t *testing.T) {
	c := &cluster{exited: make(chan error, 1)}
	ctx, cancel := c.whileRunning(t.Context())
	defer cancel()
	if ctx.Err() != nil {
		t.Fatal("ended before the cluster did")
	}
	killed := errors.New("killed")
	c.exited <- killed
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errEnded) {
		t.Errorf("ended because of %v", cause)
	}
	if err := <-c.exited; !errors.Is(err, killed) {
		t.Errorf("the cluster ended with %v", err)
	}
}

// TestWhileRunningStopped: without the cluster's end the context ends with the one that it is made of.
func TestWhileRunningStopped(t *testing.T) {
	c := &cluster{exited: make(chan error, 1)}
	outer, stop := context.WithCancelCause(t.Context())
	ctx, cancel := c.whileRunning(outer)
	defer cancel()
	interrupted := errors.New("interrupted")
	stop(interrupted)
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, interrupted) {
		t.Errorf("ended because of %v", cause)
	}
}
