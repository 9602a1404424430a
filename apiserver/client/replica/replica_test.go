package replica_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configMap(name, colour string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"colour": colour}}
}

// start runs a replica of the config maps until the test ends, indexed by colour.
func start(t *testing.T, c client.Interface, subscribe func(replica.Change[*corev1.ConfigMap])) *replica.Replica[*corev1.ConfigMap] {
	t.Helper()
	r, err := replica.New(replica.Config[*corev1.ConfigMap]{Client: c, Indexers: map[string]func(*corev1.ConfigMap) []string{
		"colour": func(m *corev1.ConfigMap) []string { return []string{m.Data["colour"]} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if subscribe != nil {
		r.Subscribe(subscribe)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-r.Ready()
	return r
}

func names(list []*corev1.ConfigMap) string {
	var out []string
	for _, m := range list {
		out = append(out, m.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestViewAndIndex(t *testing.T) {
	c := apitest.Open(t).Admin()
	maps := client.For[*corev1.ConfigMap](c)
	for _, m := range []*corev1.ConfigMap{configMap("a", "red"), configMap("b", "blue")} {
		if _, err := maps.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	changes := make(chan string, 16)
	r := start(t, c, func(ch replica.Change[*corev1.ConfigMap]) {
		name := ""
		if ch.New != nil {
			name = ch.New.Name
		} else if ch.Old != nil {
			name = ch.Old.Name
		}
		changes <- strings.TrimSpace(fmt.Sprint(ch.Kind, " ", name))
	})
	first := []string{<-changes, <-changes}
	slices.Sort(first)
	if got := strings.Join(append(first, <-changes), ", "); got != "Added a, Added b, Synced" {
		t.Errorf("changes: %s", got)
	}
	if got := names(r.List("default")); got != "a b" {
		t.Errorf("list: %s", got)
	}
	if _, err := maps.Patch(t.Context(), "default", "a", types.MergePatchType, []byte(`{"data":{"colour":"blue"}}`), ""); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got != "Updated a" {
		t.Errorf("change: %s", got)
	}
	if got := names(r.ByIndex("colour", "blue")) + "|" + names(r.ByIndex("colour", "red")); got != "a b|" {
		t.Errorf("by index: %s", got)
	}
	if err := maps.Delete(t.Context(), "default", "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got != "Deleted a" {
		t.Errorf("change: %s", got)
	}
	if _, ok := r.Get("default", "a"); ok || r.Len() != 1 {
		t.Error("the deleted object is still in the view")
	}
}

// flaky breaks lists and watches, and forgets the past, at random.
type flaky struct {
	client.Interface
	st    *store.Store
	quiet atomic.Bool
}

func (f *flaky) List(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (*client.List, error) {
	if !f.quiet.Load() && rand.N(4) == 0 {
		return nil, errors.New("the list broke")
	}
	return f.Interface.List(ctx, ref, opts)
}

func (f *flaky) Watch(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (watch.Interface, error) {
	if f.quiet.Load() {
		return f.Interface.Watch(ctx, ref, opts)
	}
	switch rand.N(4) {
	case 0:
		return nil, errors.New("the watch broke")
	case 1:
		_ = f.st.Compact(ctx, f.st.Revision()) // the next watch may get 410 Gone
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.N(30)+1)*time.Millisecond)
	w, err := f.Interface.Watch(ctx, ref, opts)
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, cancel)
	return w, nil
}

// TestConverges has a writer at work while the connection breaks again and again: in the end the view
// is what the API has, and the changes told add up to it.
func TestConverges(t *testing.T) {
	api := apitest.Open(t)
	c := api.Admin()
	f := &flaky{Interface: c, st: api.Store}
	var mu sync.Mutex
	told := map[string]string{}
	changed := make(chan struct{}, 1)
	r := start(t, f, func(ch replica.Change[*corev1.ConfigMap]) {
		mu.Lock()
		defer mu.Unlock()
		switch ch.Kind {
		case replica.Added, replica.Updated:
			told[ch.New.Name] = ch.New.ResourceVersion
		case replica.Deleted:
			delete(told, ch.Old.Name)
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	maps := client.For[*corev1.ConfigMap](c)
	for i := range 300 {
		name := fmt.Sprintf("m%d", rand.N(20))
		if rand.N(3) == 0 {
			_ = maps.Delete(t.Context(), "default", name, metav1.DeleteOptions{})
		} else if _, err := maps.Create(t.Context(), configMap(name, "red")); err != nil {
			_, _ = maps.Patch(t.Context(), "default", name, types.MergePatchType, fmt.Appendf(nil, `{"data":{"n":"%d"}}`, i), "")
		}
		time.Sleep(time.Duration(rand.N(2)) * time.Millisecond)
	}
	f.quiet.Store(true)
	last, err := maps.Create(t.Context(), configMap("last", "red"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := maps.List(t.Context(), "default", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same := func() (why string) {
		mu.Lock()
		defer mu.Unlock()
		if names(r.List("")) != names(want.Items) || len(told) != len(want.Items) {
			return fmt.Sprintf("the view has %s, the API %s; told were %v", names(r.List("")), names(want.Items), told)
		}
		for _, m := range want.Items {
			if got, _ := r.Get("default", m.Name); got.ResourceVersion != m.ResourceVersion || told[m.Name] != m.ResourceVersion {
				return fmt.Sprintf("%s is at %s in the view, %s was told, %s in the API", m.Name, got.ResourceVersion, told[m.Name], m.ResourceVersion)
			}
		}
		return ""
	}
	for deadline := time.After(30 * time.Second); same() != ""; {
		select {
		case <-changed:
		case <-deadline:
			t.Fatal(same())
		}
	}
	if _, ok := r.Get("default", last.Name); !ok {
		t.Error("the last one made is not in the view")
	}
}

func TestConfigErrors(t *testing.T) {
	c := apitest.Open(t).Admin()
	for want, cfg := range map[string]replica.Config[*corev1.Pod]{
		"Config.Client":        {},
		"Config.LabelSelector": {Client: c, LabelSelector: "a in ("},
		"Config.FieldSelector": {Client: c, FieldSelector: "nonsense"},
	} {
		if _, err := replica.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := replica.New(replica.Config[client.Object]{Client: c}); err == nil {
		t.Error("a replica of no kind in particular was made")
	}
}
