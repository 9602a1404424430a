package apiserver_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

// TestRunRefused has admission refuse all that the server makes at the beginning, as a webhook does that is down: the
// server answers nonetheless, and is ready when admission lets it.
func TestRunRefused(t *testing.T) {
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var refused, open atomic.Bool
	tried := make(chan struct{}, 1)
	s, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(), Admission: []apiserver.AdmissionPlugin{{
		Name: "Refusing", Validate: func(context.Context, *apiserver.AdmissionRequest) error {
			if open.Load() {
				return nil
			}
			if !refused.Swap(true) {
				tried <- struct{}{}
			}
			return errors.New("not now")
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	<-tried
	namespaces := client.For[*corev1.Namespace](s.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}}))
	if _, err := namespaces.List(t.Context(), "", metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	select {
	case <-s.Ready():
		t.Error("ready without its namespaces")
	case err := <-done:
		done <- err
		t.Fatalf("it ended: %v", err)
	default:
	}
	open.Store(true)
	<-s.Ready()
	if _, err := namespaces.Get(t.Context(), "", "kube-system"); err != nil {
		t.Error(err)
	}
}

// TestRunClosedStore ends when the store is of no use.
func TestRunClosedStore(t *testing.T) {
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("no error")
	}
}
