package apiserver_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// TestAllocationRaces has many ask for the same few ports and addresses: nobody shares one, and all
// that was given up can be had again.
func TestAllocationRaces(t *testing.T) {
	const ports = 20
	s := newServer(t, func(c *apiserver.Config) { c.NodePorts = apiserver.PortRange{First: 30000, Last: 30000 + ports - 1} })
	services := client.For[*corev1.Service](s.Client(admin))
	for round := range 3 {
		var mu sync.Mutex
		var got []int32
		var ips, names []string
		var wg sync.WaitGroup
		for i := range 3 * ports {
			wg.Go(func() {
				svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("s%d", i)}}
				svc.Spec.Type = corev1.ServiceTypeNodePort
				svc.Spec.Ports = []corev1.ServicePort{{Port: 80}}
				out, err := services.Create(t.Context(), svc)
				if err != nil {
					return // the range is full
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, out.Spec.Ports[0].NodePort)
				ips = append(ips, out.Spec.ClusterIP)
				names = append(names, out.Name)
			})
		}
		wg.Wait()
		slices.Sort(got)
		slices.Sort(ips)
		if n := len(slices.Compact(slices.Clone(got))); n != ports || len(got) != ports {
			t.Fatalf("round %d: %d ports, %d of them different: %v", round, len(got), n, got)
		}
		if n := len(slices.Compact(ips)); n != ports {
			t.Errorf("round %d: %d different addresses", round, n)
		}
		for _, name := range names {
			if err := services.Delete(t.Context(), "default", name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNothingSlipsIntoADyingNamespace creates and deletes at once: when the deletion is under way, no
// creation succeeds any more.
func TestNothingSlipsIntoADyingNamespace(t *testing.T) {
	c := newServer(t).Client(admin)
	spaces, maps := client.For[*corev1.Namespace](c), client.For[*corev1.ConfigMap](c)
	ns, err := spaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "dying"}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: fmt.Sprintf("m%d-%d", w, i)}}
				if _, err := maps.Create(t.Context(), m); err != nil {
					if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	if err := spaces.Delete(t.Context(), "", ns.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	dying, err := spaces.Get(t.Context(), "", ns.Name)
	if err != nil {
		t.Fatal(err)
	}
	since, _ := strconv.Atoi(dying.ResourceVersion)
	wg.Wait()
	l, err := maps.List(t.Context(), ns.Name, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l.Items {
		if at, _ := strconv.Atoi(m.ResourceVersion); at > since {
			t.Errorf("%s was created at %d, the deletion began at %d", m.Name, at, since)
		}
	}
}

// TestWatchersSeeTheSame has many watchers follow many writers: all see every change once, in order.
func TestWatchersSeeTheSame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	maps := client.For[*corev1.ConfigMap](newServer(t).Client(admin))
	const writers, rounds, watchers = 4, 50, 8
	first, err := maps.List(ctx, "", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := make([][]string, watchers)
	var watching sync.WaitGroup
	for i := range watchers {
		w, err := maps.Watch(ctx, "", metav1.ListOptions{ResourceVersion: first.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		watching.Go(func() {
			for range writers * (rounds + 2) {
				ev := <-w.ResultChan()
				m := ev.Object.(*corev1.ConfigMap)
				seen[i] = append(seen[i], fmt.Sprintf("%s %s %s", ev.Type, m.Name, m.ResourceVersion))
			}
			w.Stop()
			for range w.ResultChan() {
			}
		})
	}
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() { writeRounds(t, maps, fmt.Sprintf("m%d", i), rounds) })
	}
	writing.Wait()
	watching.Wait()
	for i := range seen {
		if !slices.Equal(seen[i], seen[0]) {
			t.Errorf("watcher %d saw another story", i)
		}
	}
	last := 0
	for _, line := range seen[0] {
		var typ, name string
		var version int
		if _, err := fmt.Sscanf(line, "%s %s %d", &typ, &name, &version); err != nil || version <= last {
			t.Fatalf("%q after %d: %v", line, last, err)
		}
		last = version
	}
}

func writeRounds(t *testing.T, maps client.Typed[*corev1.ConfigMap], name string, rounds int) {
	m, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	for i := 0; i < rounds && err == nil; i++ {
		m.Data = map[string]string{"n": strconv.Itoa(i)}
		m, err = maps.Update(t.Context(), m)
	}
	if err == nil {
		err = maps.Delete(t.Context(), "default", name, metav1.DeleteOptions{})
	}
	if err != nil {
		t.Error(err)
	}
}
