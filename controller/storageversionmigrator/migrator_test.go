package storageversionmigrator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/internal/apitest"
	"github.com/inboard/inboard/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky fails patches as it is told to.
type flaky struct {
	client.Interface
	fail func(name string) error
}

func (f flaky) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, patch []byte, opts metav1.PatchOptions) (runtime.Object, error) {
	if err := f.fail(ref.Name); err != nil {
		return nil, err
	}
	return f.Interface.Patch(ctx, ref, pt, patch, opts)
}

// start runs the controller over a server until the test ends.
func start(t *testing.T, later time.Duration, fail func(name string) error) *apitest.Server {
	t.Helper()
	api := apitest.Open(t)
	c := client.Interface(api.Admin())
	if fail != nil {
		c = flaky{c, fail}
	}
	g, err := controller.NewGroup(controller.GroupConfig{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	r, err := add(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	r.now = func() time.Time { return time.Now().Add(later) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return api
}

func request(t *testing.T, api *apitest.Server, name, group, resource string) {
	t.Helper()
	m := &migration{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagemigrationv1.StorageVersionMigrationSpec{
		Resource: metav1.GroupResource{Group: group, Resource: resource}}}
	if _, err := client.For[*migration](api.Admin()).Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// await waits until a migration is over and does not run, and returns its conditions.
func await(t *testing.T, api *apitest.Server, name string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		m, err := client.For[*migration](api.Admin()).Get(t.Context(), "", name)
		if err != nil {
			t.Fatal(err)
		}
		if isOver(m) && !is(m, storagemigrationv1.MigrationRunning) {
			var out []string
			for _, c := range m.Status.Conditions {
				out = append(out, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
			}
			return strings.Join(out, "\n")
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is never over: %+v", m.Status)
		}
	}
}

func configMap(t *testing.T, api *apitest.Server, name string) {
	t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Data: map[string]string{"a": "b"}}
	if _, err := client.For[*corev1.ConfigMap](api.Admin()).Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func key(name string) string { return "/registry/core/configmaps/default/" + name }

func entry(t *testing.T, api *apitest.Server, name string) *store.Entry {
	t.Helper()
	e, _, err := api.Store.Get(t.Context(), key(name))
	if err != nil || e == nil {
		t.Fatal(err)
	}
	return e
}

// TestOldEncodingIsReplaced migrates objects of which one is stored in JSON, as nobody would store it today. Those
// that are as they would be are left alone.
func TestOldEncodingIsReplaced(t *testing.T) {
	api := start(t, 0, nil)
	configMap(t, api, "new")
	configMap(t, api, "old")
	m, err := client.For[*corev1.ConfigMap](api.Admin()).Get(t.Context(), "default", "old")
	if err != nil {
		t.Fatal(err)
	}
	m.ResourceVersion = ""
	m.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Store.Txn(t.Context(), store.Txn{Then: []store.Op{store.OpPut(key("old"), text)}}); err != nil {
		t.Fatal(err)
	}
	before := entry(t, api, "new").ModRevision
	request(t, api, "m", "", "configmaps")
	const want = "Running=False MigrationCompleted: Migration completed\n" +
		"Succeeded=True StorageVersionMigrationSucceeded: Migration completed"
	if got := await(t, api, "m"); got != want {
		t.Errorf("the conditions are\n%s\nwant\n%s", got, want)
	}
	if e := entry(t, api, "old"); !bytes.HasPrefix(e.Value, []byte("k8s\x00")) {
		t.Errorf("it is stored as %q still", e.Value)
	}
	if e := entry(t, api, "new"); e.ModRevision != before {
		t.Error("an object that is stored as it should be was written anew")
	}
}

// TestFailures lets the server fail in ways that pass and in ways that don't.
func TestFailures(t *testing.T) {
	gone := apierrors.NewNotFound(corev1.Resource("configmaps"), "b")
	for _, c := range []struct{ what, group, resource, want string }{
		{"overload, once", "", "configmaps", "Running=False MigrationCompleted: Migration completed\n" +
			"Succeeded=True StorageVersionMigrationSucceeded: Migration completed"},
		{"an object that goes", "", "configmaps", "Running=False MigrationCompleted: Migration completed\n" +
			"Succeeded=True StorageVersionMigrationSucceeded: Migration completed"},
		{"a refusal", "", "configmaps", "Running=False MigrationCompleted: Migration completed\n" +
			"Failed=True StorageVersionMigrationFailed: 1/2 not yet migrated. migration encountered unhandled error: no"},
		{"no such resource", "example.com", "things", "Failed=True StorageVersionMigrationFailed: resource does not exist in discovery"},
	} {
		t.Run(c.what, func(t *testing.T) {
			tries := 0
			api := start(t, 2*patience, func(name string) error {
				tries++
				switch {
				case c.what == "overload, once" && tries == 2:
					return apierrors.NewTooManyRequests("later", 1)
				case c.what == "an object that goes" && name == "b":
					return gone
				case c.what == "a refusal" && name == "b":
					return errors.New("no")
				}
				return nil
			})
			configMap(t, api, "a")
			configMap(t, api, "b")
			request(t, api, "m", c.group, c.resource)
			if got := await(t, api, "m"); got != c.want {
				t.Errorf("the conditions are\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestOneAtATime has migrations of one resource that wait for each other, and one that waits for none.
func TestOneAtATime(t *testing.T) {
	blocked, release := make(chan struct{}, 100), make(chan struct{})
	api := start(t, 0, func(name string) error {
		if name == "a" {
			blocked <- struct{}{}
			<-release
		}
		return nil
	})
	t.Cleanup(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	})
	configMap(t, api, "a")
	request(t, api, "m1", "", "configmaps")
	<-blocked
	request(t, api, "m2", "", "configmaps")
	request(t, api, "m3", "", "secrets")
	await(t, api, "m3")
	m, err := client.For[*migration](api.Admin()).Get(t.Context(), "", "m2")
	if err != nil || len(m.Status.Conditions) > 0 {
		t.Errorf("the second one began while the first one ran: %+v, %v", m.Status, err)
	}
	close(release)
	await(t, api, "m1")
	await(t, api, "m2")
}
