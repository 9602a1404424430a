package rest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientrest "k8s.io/client-go/rest"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The whole contract is tested by package clienttest, which package apiserver runs over HTTPS.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer st.Close()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All(),
		Authentication: apiserver.AuthenticationConfig{Tokens: map[string]apiserver.Identity{
			"secret": {User: "me", Groups: []string{apiserver.GroupMasters}}}}})
	if err != nil {
		panic(err)
	}
	network := apiserver.NewPipe() // a network in memory; a kubeconfig's path is the usual thing
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	go func() { ended <- server.Serve(ctx, network, nil) }()
	<-server.Ready()

	c, err := rest.New(rest.Config{REST: &clientrest.Config{
		Host: "http://inboard", BearerToken: "secret", Dial: network.Dial}})
	if err != nil {
		panic(err)
	}
	spaces, err := client.For[*corev1.Namespace](c).List(ctx, "", metav1.ListOptions{})
	if err != nil {
		panic(err)
	}
	for _, ns := range spaces.Items {
		fmt.Println(ns.Name)
	}
	c.Close()
	cancel()
	fmt.Println(<-ended, <-ended)
	// Output:
	// default
	// kube-node-lease
	// kube-public
	// kube-system
	// <nil> <nil>
}

// TestNaming holds Kubernetes' rule for the names of resources, which ResourceFor goes by, to the table of
// kinds.
func TestNaming(t *testing.T) {
	c, err := rest.New(rest.Config{REST: &clientrest.Config{Host: "http://nobody.invalid"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds.All() {
		gvr, err := c.ResourceFor(k.Object)
		if err != nil || gvr != k.ResourceRef() {
			t.Errorf("%s maps to %s, want %s: %v", k.Kind, gvr, k.ResourceRef(), err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{["), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{broken, filepath.Join(t.TempDir(), "none")} {
		if _, err := rest.New(rest.Config{Kubeconfig: file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
}

// TestUnreachable: a server that is not there is the call's error, at once, and nothing hangs.
func TestUnreachable(t *testing.T) {
	refused := errors.New("refused")
	c, err := rest.New(rest.Config{REST: &clientrest.Config{Host: "http://nobody.invalid",
		Dial: apiserver.NewPipe().Dial}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(refused)
	ref := client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("pods")}
	if _, err := c.List(ctx, ref, metav1.ListOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
	for _, bad := range []client.Ref{{}, {GroupVersionResource: ref.GroupVersionResource}} {
		if _, err := c.Get(t.Context(), bad, metav1.GetOptions{}); err == nil {
			t.Errorf("a get of %q was sent", bad)
		}
	}
	u := &unstructured.Unstructured{}
	if _, err := c.ResourceFor(u); err == nil {
		t.Error("an object without a kind has a resource")
	}
}
