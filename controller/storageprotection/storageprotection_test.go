package storageprotection_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"go.uber.org/goleak"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/rbac"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/storageprotection"
	"github.com/inboard/inboard/internal/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an API server with Kubernetes' default roles and all its default admission, and the controllers under
// the service accounts that they have in Kubernetes, in a bubble of synctest.
type world struct {
	*testing.T
	admin   client.Interface
	pods    client.Typed[*corev1.Pod]
	claims  client.Typed[*corev1.PersistentVolumeClaim]
	volumes client.Typed[*corev1.PersistentVolume]
	classes client.Typed[*storagev1.VolumeAttributesClass]
}

// inWorld runs f; before, when not nil, does something before the controllers begin, and wrap changes what they
// watch with.
func inWorld(t *testing.T, before func(*world), wrap func(client.Interface) client.Interface, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		api := apitest.Open(t, func(cfg *apiserver.Config) {
			cfg.DisableAdmission = nil
			if before != nil {
				cfg.DisableAdmission = []string{"StorageObjectInUseProtection"}
			}
			policy, err := rbac.New(rbac.Config{Store: cfg.Store})
			must(t, err)
			cfg.Authorizer = policy
		})
		c := api.Admin()
		w := &world{t, c, client.For[*corev1.Pod](c), client.For[*corev1.PersistentVolumeClaim](c),
			client.For[*corev1.PersistentVolume](c), client.For[*storagev1.VolumeAttributesClass](c)}
		if before != nil {
			before(w)
		}
		watcher := api.As("system:kube-controller-manager")
		if wrap != nil {
			watcher = wrap(watcher)
		}
		g, err := controller.NewGroup(controller.GroupConfig{Client: watcher, ClientFor: func(name string) client.Interface {
			return api.As("system:serviceaccount:kube-system:"+name, "system:serviceaccounts", "system:serviceaccounts:kube-system")
		}})
		must(t, err)
		must(t, storageprotection.Add(g, storageprotection.Config{}))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		<-g.Ready()
		f(w)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func claim(name string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	return c
}

// pod returns a pod on a node, or on none, that uses claims; "+name" is an ephemeral volume.
func pod(name, node string, claims ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	p.Spec = corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "v1"}}}
	for i, c := range claims {
		v := corev1.Volume{Name: fmt.Sprintf("v%d", i)}
		if own, ok := strings.CutPrefix(c, "+"); ok {
			v.Name = own
			v.Ephemeral = &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claim("").Spec}}
		} else {
			v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c}
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	return p
}

func create[T client.Object](w *world, c client.Typed[T], obj T) T {
	w.Helper()
	obj, err := c.Create(w.Context(), obj)
	must(w, err)
	return obj
}

// remove deletes at once, and waits until the controllers have nothing to do.
func remove[T client.Object](w *world, c client.Typed[T], namespace, name string) {
	w.Helper()
	must(w, c.Delete(w.Context(), namespace, name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}))
	synctest.Wait()
}

// is checks whether an object is "there", "kept" though it is being deleted, or "gone".
func is[T client.Object](w *world, c client.Typed[T], namespace, name, want string) {
	w.Helper()
	synctest.Wait()
	obj, err := c.Get(w.Context(), namespace, name)
	have := "there"
	switch {
	case apierrors.IsNotFound(err):
		have = "gone"
	case err != nil:
		w.Fatal(err)
	case obj.GetDeletionTimestamp() != nil:
		have = "kept"
	}
	if have != want {
		w.Errorf("%s is %s, want %s", name, have, want)
	}
}

// TestClaims: a claim in use stays until the last pod that uses it goes; one that is not goes at once.
func TestClaims(t *testing.T) {
	inWorld(t, nil, nil, func(w *world) {
		for _, name := range []string{"free", "shared", "waiting", "ended"} {
			create(w, w.claims, claim(name))
		}
		create(w, w.pods, pod("one", "n", "shared"))
		create(w, w.pods, pod("two", "n", "shared"))
		create(w, w.pods, pod("waits", "", "waiting"))
		ended := create(w, w.pods, pod("ends", "n", "ended"))
		ended.Status.Phase = corev1.PodSucceeded
		_, err := w.pods.UpdateStatus(w.Context(), ended)
		must(t, err)
		for name, want := range map[string]string{"free": "gone", "shared": "kept", "waiting": "gone", "ended": "kept"} {
			is(w, w.claims, "default", name, "there")
			remove(w, w.claims, "default", name)
			is(w, w.claims, "default", name, want)
		}
		remove(w, w.pods, "default", "ends")
		is(w, w.claims, "default", "ended", "gone")
		remove(w, w.pods, "default", "one")
		is(w, w.claims, "default", "shared", "kept")
		time.Sleep(time.Hour)
		is(w, w.claims, "default", "shared", "kept")
		remove(w, w.pods, "default", "two")
		is(w, w.claims, "default", "shared", "gone")
	})
}

// TestEphemeralClaims are those of their pod, not others of such a name, until it is shut down: what else holds
// the pod may itself wait for the claim.
func TestEphemeralClaims(t *testing.T) {
	inWorld(t, nil, nil, func(w *world) {
		p := pod("db", "n", "+data", "+other", "kept")
		p.Finalizers = []string{"example.com/hold"}
		p = create(w, w.pods, p)
		own := claim("db-data")
		own.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(p, corev1.SchemeGroupVersion.WithKind("Pod"))}
		create(w, w.claims, own)
		create(w, w.claims, claim("db-other"))
		create(w, w.claims, claim("kept"))
		for name, want := range map[string]string{"db-data": "kept", "db-other": "gone", "kept": "kept"} {
			remove(w, w.claims, "default", name)
			is(w, w.claims, "default", name, want)
		}
		remove(w, w.pods, "default", "db")
		is(w, w.pods, "default", "db", "kept")
		is(w, w.claims, "default", "db-data", "gone")
		is(w, w.claims, "default", "kept", "kept")
		p, err := w.pods.Get(w.Context(), "default", "db")
		must(t, err)
		p.Finalizers = nil
		_, err = w.pods.Update(w.Context(), p)
		must(t, err)
		is(w, w.claims, "default", "kept", "gone")
	})
}

func volume(name string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: name}
	return v
}

func (w *world) phase(name string, phase corev1.PersistentVolumePhase) {
	w.Helper()
	v, err := w.volumes.Get(w.Context(), "", name)
	must(w, err)
	v.Status.Phase = phase
	_, err = w.volumes.UpdateStatus(w.Context(), v)
	must(w, err)
}

// TestVolumes stay while they are bound.
func TestVolumes(t *testing.T) {
	inWorld(t, nil, nil, func(w *world) {
		for name, phase := range map[string]corev1.PersistentVolumePhase{"free": corev1.VolumeAvailable, "bound": corev1.VolumeBound} {
			create(w, w.volumes, volume(name))
			w.phase(name, phase)
			is(w, w.volumes, "", name, "there")
			remove(w, w.volumes, "", name)
		}
		is(w, w.volumes, "", "free", "gone")
		time.Sleep(time.Hour)
		is(w, w.volumes, "", "bound", "kept")
		w.phase("bound", corev1.VolumeReleased)
		is(w, w.volumes, "", "bound", "gone")
	})
}

// TestClasses stay while a volume has them or a claim asks for them.
func TestClasses(t *testing.T) {
	inWorld(t, nil, nil, func(w *world) {
		for _, name := range []string{"fast", "slow", "dear"} {
			create(w, w.classes, &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: name}, DriverName: "disk.example.com", Parameters: map[string]string{"iops": "1"}})
		}
		v, c := volume("v"), claim("c")
		v.Spec.VolumeAttributesClassName, c.Spec.VolumeAttributesClassName = ptr.To("fast"), ptr.To("fast")
		create(w, w.volumes, v)
		create(w, w.claims, c)
		remove(w, w.classes, "", "slow")
		is(w, w.classes, "", "slow", "gone")
		remove(w, w.classes, "", "fast")
		is(w, w.classes, "", "fast", "kept")
		remove(w, w.volumes, "", "v")
		is(w, w.classes, "", "fast", "kept")
		remove(w, w.claims, "default", "c")
		is(w, w.classes, "", "fast", "gone")
		v = volume("last")
		v.Spec.VolumeAttributesClassName = ptr.To("dear")
		create(w, w.volumes, v)
		remove(w, w.classes, "", "dear")
		is(w, w.classes, "", "dear", "kept")
		remove(w, w.volumes, "", "last")
		is(w, w.classes, "", "dear", "gone")
	})
}

// TestOlderObjects, made while the plugin was off, get the finalizer; those being deleted then do not.
func TestOlderObjects(t *testing.T) {
	inWorld(t, func(w *world) {
		create(w, w.claims, claim("old"))
		going := claim("going")
		going.Finalizers = []string{"example.com/hold"}
		create(w, w.claims, going)
		remove(w, w.claims, "default", "going")
		create(w, w.volumes, volume("old"))
	}, nil, func(w *world) {
		synctest.Wait()
		c, err := w.claims.Get(w.Context(), "default", "old")
		must(t, err)
		v, err := w.volumes.Get(w.Context(), "", "old")
		must(t, err)
		going, err := w.claims.Get(w.Context(), "default", "going")
		must(t, err)
		if !slices.Equal(c.Finalizers, []string{storageprotection.ClaimFinalizer}) ||
			!slices.Equal(v.Finalizers, []string{storageprotection.VolumeFinalizer}) ||
			!slices.Equal(going.Finalizers, []string{"example.com/hold"}) {
			t.Errorf("finalizers %v, %v, %v", c.Finalizers, v.Finalizers, going.Finalizers)
		}
	})
}

// late is a client whose watches of pods never tell of anything.
type late struct{ client.Interface }

func (l late) Watch(ctx context.Context, ref client.Ref, o metav1.ListOptions) (watch.Interface, error) {
	if ref.Resource != "pods" {
		return l.Interface.Watch(ctx, ref, o)
	}
	w := watch.NewFake()
	context.AfterFunc(ctx, w.Stop)
	return w, nil
}

// TestPodsNotYetSeen: the API is asked before a claim goes, and again later, since a view that missed a pod may
// not tell of its end either.
func TestPodsNotYetSeen(t *testing.T) {
	inWorld(t, nil, func(c client.Interface) client.Interface { return late{c} }, func(w *world) {
		create(w, w.claims, claim("c"))
		create(w, w.pods, pod("new", "n", "c"))
		remove(w, w.claims, "default", "c")
		time.Sleep(time.Minute)
		is(w, w.claims, "default", "c", "kept")
		remove(w, w.pods, "default", "new")
		time.Sleep(6 * time.Second)
		is(w, w.claims, "default", "c", "gone")
	})
}

// TestAnyOrder: however pods and claims come and go, a deleted claim is there exactly as long as a pod on a node
// uses it.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(8) {
		inWorld(t, nil, nil, func(w *world) {
			r := rand.New(rand.NewPCG(seed, 1))
			claims, users := map[string]bool{}, map[string]string{} // claims: true when being deleted
			for range 80 {
				c, p := fmt.Sprintf("c%d", r.IntN(3)), fmt.Sprintf("p%d", r.IntN(4))
				_, exists := claims[c]
				_, runs := users[p]
				switch {
				case r.IntN(2) == 0 && !exists:
					create(w, w.claims, claim(c))
					claims[c] = false
				case r.IntN(2) == 0 && exists:
					must(w, w.claims.Delete(w.Context(), "default", c, metav1.DeleteOptions{}))
					claims[c] = true
				case !runs:
					create(w, w.pods, pod(p, "n", c))
					users[p] = c
				default:
					must(w, w.pods.Delete(w.Context(), "default", p, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}))
					delete(users, p)
				}
				synctest.Wait()
				for c, deleted := range claims {
					used := false
					for _, u := range users {
						used = used || u == c
					}
					switch {
					case !deleted:
						is(w, w.claims, "default", c, "there")
					case used:
						is(w, w.claims, "default", c, "kept")
					default:
						is(w, w.claims, "default", c, "gone")
						delete(claims, c)
					}
				}
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	if _, err := storageprotection.New(storageprotection.Config{}); err == nil || !strings.Contains(err.Error(), "Client is nil") {
		t.Errorf("New: %v", err)
	}
}
