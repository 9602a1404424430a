package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	certificatesinformers "k8s.io/client-go/informers/certificates/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	resourceinformers "k8s.io/client-go/informers/resource/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/auth/nodeidentifier"
	upstream "k8s.io/kubernetes/plugin/pkg/auth/authorizer/node"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/node"
	"github.com/inboard/inboard/store"
)

// handlers stands for an informer: what is told it goes on to Kubernetes' graph at once.
type handlers struct {
	cache.SharedIndexInformer
	cache.ResourceEventHandler
}

func (h *handlers) AddEventHandler(to cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	h.ResourceEventHandler = to
	return synced{}, nil
}

type synced struct {
	cache.ResourceEventHandlerRegistration
}

func (synced) HasSynced() bool { return true }

// Each kind has an informer of its own type, of which the graph uses nothing but Informer.
type (
	podInformer struct {
		coreinformers.PodInformer
		handlers
	}
	volumeInformer struct {
		coreinformers.PersistentVolumeInformer
		handlers
	}
	attachmentInformer struct {
		storageinformers.VolumeAttachmentInformer
		handlers
	}
	sliceInformer struct {
		resourceinformers.ResourceSliceInformer
		handlers
	}
	requestInformer struct {
		certificatesinformers.PodCertificateRequestInformer
		handlers
	}
)

func (i *podInformer) Informer() cache.SharedIndexInformer        { return &i.handlers }
func (i *volumeInformer) Informer() cache.SharedIndexInformer     { return &i.handlers }
func (i *attachmentInformer) Informer() cache.SharedIndexInformer { return &i.handlers }
func (i *sliceInformer) Informer() cache.SharedIndexInformer      { return &i.handlers }
func (i *requestInformer) Informer() cache.SharedIndexInformer    { return &i.handlers }

// graphWorld keeps the same objects in a store and in Kubernetes' graph.
type graphWorld struct {
	*rand.Rand
	store  *store.Store
	ours   *node.Authorizer
	theirs *upstream.NodeAuthorizer
	told   map[string]*handlers
	now    map[string]client.Object // by key
	uids   int
}

var (
	nodeNames  = []string{"n1", "n2", "n3"}
	namespaces = []string{"a", "b"}
	names      = []string{"x", "y"}
)

func newGraphWorld(t *testing.T, seed uint64) *graphWorld {
	t.Helper()
	st, err := store.Open(store.Config{HistoryRevisions: 16})
	must(t, err)
	t.Cleanup(func() { _ = st.Close() })
	w := &graphWorld{Rand: rand.New(rand.NewPCG(seed, 0)), store: st, now: map[string]client.Object{}}
	w.ours, err = node.New(node.Config{Store: st})
	must(t, err)
	t.Cleanup(func() { _ = w.ours.Close() })
	var (
		pods        podInformer
		volumes     volumeInformer
		attachments attachmentInformer
		slices      sliceInformer
		requests    requestInformer
	)
	graph := upstream.NewGraph()
	upstream.AddGraphEventHandlers(graph, nil, &pods, &volumes, &attachments, &slices, &requests)
	w.theirs = upstream.NewAuthorizer(graph, nodeidentifier.NewDefaultNodeIdentifier(), bootstrappolicy.NodeRules())
	w.told = map[string]*handlers{
		"core/pods": &pods.handlers, "core/persistentvolumes": &volumes.handlers, "storage.k8s.io/volumeattachments": &attachments.handlers,
		"resource.k8s.io/resourceslices": &slices.handlers, "certificates.k8s.io/podcertificaterequests": &requests.handlers,
	}
	return w
}

func (w *graphWorld) pick(list []string) string { return list[w.IntN(len(list))] }
func (w *graphWorld) one(in int) bool           { return w.IntN(in) == 0 }

// put makes or changes an object on both sides.
func (w *graphWorld) put(t *testing.T, kind, key string, obj client.Object) {
	t.Helper()
	value, err := json.Marshal(obj)
	must(t, err)
	w.txn(t, store.OpPut("/registry/"+kind+"/"+key, value))
	old := w.now[kind+"/"+key]
	w.now[kind+"/"+key] = obj
	if old == nil {
		w.told[kind].OnAdd(obj, false)
		return
	}
	w.told[kind].OnUpdate(old, obj)
}

func (w *graphWorld) remove(t *testing.T, kind, key string) {
	t.Helper()
	old := w.now[kind+"/"+key]
	if old == nil {
		return
	}
	delete(w.now, kind+"/"+key)
	w.txn(t, store.OpDelete("/registry/"+kind+"/"+key))
	w.told[kind].OnDelete(old)
}

func (w *graphWorld) txn(t *testing.T, op store.Op) {
	t.Helper()
	_, err := w.store.Txn(context.Background(), store.Txn{Then: []store.Op{op}})
	must(t, err)
}

func (w *graphWorld) uid() types.UID {
	w.uids++
	return types.UID(fmt.Sprint("u", w.uids))
}

// step changes something.
func (w *graphWorld) step(t *testing.T) {
	t.Helper()
	switch w.IntN(8) {
	case 0, 1, 2, 3:
		w.stepPod(t)
	case 4, 5:
		name := w.pick(names)
		if w.one(4) {
			w.remove(t, "core/persistentvolumes", name)
			return
		}
		w.put(t, "core/persistentvolumes", name, w.volume(name))
	case 6:
		w.stepOther(t)
	case 7:
		ns, name := w.pick(namespaces), w.pick(names)
		const kind = "certificates.k8s.io/podcertificaterequests"
		if w.now[kind+"/"+ns+"/"+name] != nil {
			w.remove(t, kind, ns+"/"+name)
			return
		}
		pcr := &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
		pcr.Spec.NodeName = types.NodeName(w.pick(nodeNames))
		w.put(t, kind, ns+"/"+name, pcr)
	}
}

func (w *graphWorld) stepOther(t *testing.T) {
	name := w.pick(names)
	kind := "storage.k8s.io/volumeattachments"
	var obj client.Object = &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.VolumeAttachmentSpec{NodeName: w.pick(nodeNames)}}
	if w.one(2) {
		kind = "resource.k8s.io/resourceslices"
		s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if !w.one(3) {
			s.Spec.NodeName = ptr.To(w.pick(nodeNames))
		}
		obj = s
	}
	if w.now[kind+"/"+name] != nil {
		w.remove(t, kind, name)
		return
	}
	w.put(t, kind, name, obj)
}

func (w *graphWorld) stepPod(t *testing.T) {
	ns, name := w.pick(namespaces), w.pick(names)
	key := ns + "/" + name
	const kind = "core/pods"
	old, _ := w.now[kind+"/"+key].(*corev1.Pod)
	if old == nil || w.one(6) {
		p := w.pod(ns, name)
		if old != nil {
			// One in the place of another may be seen as a change of it, but Kubernetes forgets the old one's
			// node only when the new one has one, too.
			p.Spec.NodeName = w.pick(nodeNames)
		}
		w.put(t, kind, key, p)
		return
	}
	p := old.DeepCopy()
	switch w.IntN(5) {
	case 0:
		w.remove(t, kind, key)
		return
	case 1:
		if p.Spec.NodeName == "" {
			p.Spec.NodeName = w.pick(nodeNames)
		}
	case 2:
		c := corev1.EphemeralContainer{}
		c.EnvFrom = w.envFrom()
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, c)
	case 3:
		w.claimStatuses(p)
	case 4:
		p.Labels = map[string]string{"l": w.pick(names)}
	}
	w.put(t, kind, key, p)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
