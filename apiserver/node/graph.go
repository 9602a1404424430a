package node

import (
	"context"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/follow"
)

// objectKind is a kind of objects that nodes have to do with.
type objectKind uint8

const (
	pod objectKind = iota
	secret
	configMap
	serviceAccount
	claim
	volume
	resourceClaim
	attachment
	slice
	certificateRequest
)

// object names an object; those without a namespace have none.
type object struct {
	kind            objectKind
	namespace, name string
}

// graph knows which node has to do with which object, directly or by way of a pod, a claim and a volume:
//
//	pod -> node
//	secret, configMap, serviceAccount, claim, resourceClaim -> pod -> node
//	[secret ->] volume -> claim -> pod -> node
//	attachment, slice, certificateRequest -> node
//
// A decision is one lookup: the ways are walked when an object changes, and counted, so that the last one takes the
// relation with it.
type graph struct {
	follower *follow.Follower

	// nodes counts the ways that lead from an object to each node.
	nodes map[object]map[string]int32
	// pods has the pods that are bound to a node, volumes those that are of a claim, others the node of what has
	// one itself.
	pods    map[object]boundPod
	volumes map[string]boundVolume
	others  map[object]string
	// byClaim has the names of a claim's volumes.
	byClaim map[object][]string
}

// boundPod is what a pod contributes.
type boundPod struct {
	node string
	uid  types.UID
	// ephemeral counts the ephemeral containers: besides claims, nothing else adds references.
	ephemeral  int
	claims     bool
	references []object
}

// boundVolume is what a volume contributes.
type boundVolume struct {
	claim   object
	secrets []object
}

// followed are the kinds that make up the graph, by the index of their follow.Source.
var followed = []apiserver.Kind{
	kindOf(corev1.SchemeGroupVersion, "Pod", "pods", true, &corev1.Pod{}, &corev1.PodList{}),
	kindOf(corev1.SchemeGroupVersion, "PersistentVolume", "persistentvolumes", false, &corev1.PersistentVolume{}, &corev1.PersistentVolumeList{}),
	kindOf(storagev1.SchemeGroupVersion, "VolumeAttachment", "volumeattachments", false, &storagev1.VolumeAttachment{}, &storagev1.VolumeAttachmentList{}),
	kindOf(resourcev1.SchemeGroupVersion, "ResourceSlice", "resourceslices", false, &resourcev1.ResourceSlice{}, &resourcev1.ResourceSliceList{}),
	kindOf(certificatesv1.SchemeGroupVersion, "PodCertificateRequest", "podcertificaterequests", true,
		&certificatesv1.PodCertificateRequest{}, &certificatesv1.PodCertificateRequestList{}),
}

// kindOf returns as much of a row of the table of kinds as says how objects are stored.
func kindOf(gv schema.GroupVersion, kind, resource string, namespaced bool, obj client.Object, list runtime.Object) apiserver.Kind {
	return apiserver.Kind{GroupVersionKind: gv.WithKind(kind), Resource: resource, Namespaced: namespaced, Object: obj, List: list}
}

// kinds are their kinds in the graph.
var kinds = []objectKind{pod, volume, attachment, slice, certificateRequest}

func newGraph(st apiserver.Store) (*graph, error) {
	g := &graph{}
	g.Reset()
	var sources []follow.Source
	for _, k := range followed {
		s, err := apiserver.StoredAs(k)
		if err != nil {
			return nil, err
		}
		sources = append(sources, follow.Source{Prefix: s.Prefix(), Object: s.Object})
	}
	g.follower = follow.New(st, g, sources...)
	return g, nil
}

// relates tells whether an object has to do with a node.
func (g *graph) relates(ctx context.Context, o object, node string) (ok bool, err error) {
	err = g.follower.Read(ctx, func() { ok = g.nodes[o][node] > 0 })
	if err != nil {
		return false, fmt.Errorf("node: %w", err)
	}
	return ok, nil
}

// Reset forgets everything.
func (g *graph) Reset() {
	g.nodes, g.pods = map[object]map[string]int32{}, map[object]boundPod{}
	g.volumes, g.others, g.byClaim = map[string]boundVolume{}, map[object]string{}, map[object][]string{}
}

// Put notes a new or changed object.
func (g *graph) Put(_ int, obj client.Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		g.putPod(o)
	case *corev1.PersistentVolume:
		g.putVolume(o)
	case *storagev1.VolumeAttachment:
		g.putOther(object{attachment, "", o.Name}, o.Spec.NodeName)
	case *resourcev1.ResourceSlice:
		node := ""
		if o.Spec.NodeName != nil {
			node = *o.Spec.NodeName
		}
		g.putOther(object{slice, "", o.Name}, node)
	case *certificatesv1.PodCertificateRequest:
		g.putOther(object{certificateRequest, o.Namespace, o.Name}, string(o.Spec.NodeName))
	}
}

// Remove forgets an object.
func (g *graph) Remove(source int, namespace, name string) {
	switch o := (object{kinds[source], namespace, name}); o.kind {
	case pod:
		g.removePod(o)
	case volume:
		g.removeVolume(name)
	default:
		g.putOther(o, "")
	}
}

func (g *graph) putPod(p *corev1.Pod) {
	key := object{pod, p.Namespace, p.Name}
	if p.Spec.NodeName == "" {
		g.removePod(key)
		return
	}
	now := boundPod{node: p.Spec.NodeName, uid: p.UID, ephemeral: len(p.Spec.EphemeralContainers), claims: hasClaims(p)}
	if old, ok := g.pods[key]; ok {
		if old.node == now.node && old.uid == now.uid && old.ephemeral == now.ephemeral && !old.claims && !now.claims {
			return // nothing that is referred to can have changed
		}
		g.removePod(key)
	}
	now.references = references(p)
	g.pods[key] = now
	g.add(key, now.node)
	for _, ref := range now.references {
		g.add(ref, now.node)
	}
}

func (g *graph) removePod(key object) {
	p, ok := g.pods[key]
	if !ok {
		return
	}
	delete(g.pods, key)
	g.drop(key, p.node)
	for _, ref := range p.references {
		g.drop(ref, p.node)
	}
}

func (g *graph) putVolume(pv *corev1.PersistentVolume) {
	g.removeVolume(pv.Name)
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return
	}
	v := boundVolume{object{claim, ref.Namespace, ref.Name}, volumeSecrets(pv)}
	g.volumes[pv.Name] = v
	g.byClaim[v.claim] = append(g.byClaim[v.claim], pv.Name)
	for node := range g.nodes[v.claim] {
		g.addVolume(pv.Name, node)
	}
}

func (g *graph) removeVolume(name string) {
	v, ok := g.volumes[name]
	if !ok {
		return
	}
	for node := range g.nodes[v.claim] {
		g.dropVolume(name, node)
	}
	delete(g.volumes, name)
	left := slices.DeleteFunc(g.byClaim[v.claim], func(n string) bool { return n == name })
	if g.byClaim[v.claim] = left; len(left) == 0 {
		delete(g.byClaim, v.claim)
	}
}

func (g *graph) putOther(o object, node string) {
	old := g.others[o]
	if old == node {
		return
	}
	if old != "" {
		delete(g.others, o)
		g.drop(o, old)
	}
	if node != "" {
		g.others[o] = node
		g.add(o, node)
	}
}

// add counts one more way from an object to a node. A claim's first one makes its volumes the node's, too.
func (g *graph) add(o object, node string) {
	m := g.nodes[o]
	if m == nil {
		m = map[string]int32{}
		g.nodes[o] = m
	}
	m[node]++
	if o.kind == claim && m[node] == 1 {
		for _, v := range g.byClaim[o] {
			g.addVolume(v, node)
		}
	}
}

// drop takes one away.
func (g *graph) drop(o object, node string) {
	m := g.nodes[o]
	m[node]--
	if m[node] > 0 {
		return
	}
	if delete(m, node); len(m) == 0 {
		delete(g.nodes, o)
	}
	if o.kind == claim {
		for _, v := range g.byClaim[o] {
			g.dropVolume(v, node)
		}
	}
}

func (g *graph) addVolume(name, node string) {
	g.add(object{volume, "", name}, node)
	for _, s := range g.volumes[name].secrets {
		g.add(s, node)
	}
}

func (g *graph) dropVolume(name, node string) {
	g.drop(object{volume, "", name}, node)
	for _, s := range g.volumes[name].secrets {
		g.drop(s, node)
	}
}
