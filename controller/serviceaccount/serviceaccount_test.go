package serviceaccount_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller/serviceaccount"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNamespacesKeepWhatTheyNeed: both objects are made, and made anew or mended when someone
// deletes or changes them.
func TestNamespacesKeepWhatTheyNeed(t *testing.T) {
	c := apitest.Open(t).Admin()
	g, err := serviceaccount.New(serviceaccount.Config{Client: c, RootCA: []byte("PEM")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	if _, err := client.For[*corev1.Namespace](c).Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}); err != nil {
		t.Fatal(err)
	}
	accounts, configMaps := client.For[*corev1.ServiceAccount](c), client.For[*corev1.ConfigMap](c)
	accountEvents, err := accounts.Watch(ctx, "shop", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer accountEvents.Stop()
	mapEvents, err := configMaps.Watch(ctx, "shop", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer mapEvents.Stop()
	next := func(w watch.Interface, want watch.EventType) client.Object {
		t.Helper()
		select {
		case e := <-w.ResultChan():
			if e.Type != want {
				t.Fatalf("%s, want %s", e.Type, want)
			}
			return e.Object.(client.Object)
		case <-ctx.Done():
			t.Fatal("nothing happens")
			return nil
		}
	}
	if o := next(accountEvents, watch.Added); o.GetName() != "default" {
		t.Errorf("account %s", o.GetName())
	}
	if cm := next(mapEvents, watch.Added).(*corev1.ConfigMap); cm.Name != "kube-root-ca.crt" || cm.Data["ca.crt"] != "PEM" {
		t.Errorf("config map %v", cm)
	}
	if err := accounts.Delete(ctx, "shop", "default", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	next(accountEvents, watch.Deleted)
	next(accountEvents, watch.Added)
	_, err = configMaps.Patch(ctx, "shop", "kube-root-ca.crt", types.MergePatchType, []byte(`{"data":{"ca.crt":"forged","more":"x"}}`), "")
	if err != nil {
		t.Fatal(err)
	}
	next(mapEvents, watch.Modified)
	if cm := next(mapEvents, watch.Modified).(*corev1.ConfigMap); len(cm.Data) != 1 || cm.Data["ca.crt"] != "PEM" {
		t.Errorf("not mended: %v", cm.Data)
	}
}

func TestClientIsNeeded(t *testing.T) {
	if _, err := serviceaccount.New(serviceaccount.Config{}); err == nil || !strings.Contains(err.Error(), "Client is nil") {
		t.Errorf("New: %v", err)
	}
}
