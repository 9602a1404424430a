package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	kubeinformers "k8s.io/client-go/informers"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/authentication/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	"k8s.io/kubernetes/pkg/auth/nodeidentifier"
	upstream "k8s.io/kubernetes/plugin/pkg/admission/noderestriction"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/node"
)

var writes = flagInt("writes", 30000, "random writes of nodes")

// restrictionWorld has what both plugins look up.
type restrictionWorld struct {
	*graphWorld
	plugin   *upstream.Plugin
	ours     apiserver.AdmissionPlugin
	nodes    map[string]*corev1.Node
	pods     map[string]*corev1.Pod
	claims   map[string]*corev1.PersistentVolumeClaim
	accounts map[string]*corev1.ServiceAccount
	all      map[client.Ref]client.Object
	requests map[string][]byte // signing requests by common name
	grants   bool
}

func newRestrictionWorld(t *testing.T, seed uint64) *restrictionWorld {
	t.Helper()
	w := &restrictionWorld{
		graphWorld: newGraphWorld(t, seed), plugin: upstream.NewPlugin(nodeidentifier.NewDefaultNodeIdentifier()), ours: node.Restriction(),
		nodes: map[string]*corev1.Node{}, pods: map[string]*corev1.Pod{}, claims: map[string]*corev1.PersistentVolumeClaim{},
		accounts: map[string]*corev1.ServiceAccount{}, all: map[client.Ref]client.Object{}, requests: map[string][]byte{},
	}
	f := kubeinformers.NewSharedInformerFactory(nil, 0)
	w.plugin.InspectFeatureGates(utilfeature.DefaultFeatureGate)
	w.plugin.SetExternalKubeInformerFactory(f)
	w.plugin.SetUnconditionalAuthorizer(allowing{w})
	must(t, w.plugin.ValidateInitialization())
	add := func(plural string, gv schema.GroupVersion, obj client.Object) {
		w.all[client.Ref{GroupVersionResource: gv.WithResource(plural), Namespace: obj.GetNamespace(), Name: obj.GetName()}] = obj
		informer, err := f.ForResource(gv.WithResource(plural))
		must(t, err)
		must(t, informer.Informer().GetIndexer().Add(obj))
	}
	v1 := corev1.SchemeGroupVersion
	for _, n := range nodeNames[:2] { // n3 is not there
		w.nodes[n] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n, UID: w.uid()}}
		add("nodes", v1, w.nodes[n])
	}
	for _, name := range names {
		pv := w.volume(name)
		pv.Spec.PersistentVolumeSource = w.migratable(pv.Spec.PersistentVolumeSource)
		add("persistentvolumes", v1, pv)
		add("csidrivers", storagev1.SchemeGroupVersion, &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: storagev1.CSIDriverSpec{TokenRequests: []storagev1.TokenRequest{{Audience: w.pick(audiences)}}}})
		for _, ns := range namespaces {
			p := w.projected(w.pod(ns, name))
			w.pods[ns+"/"+name] = p
			add("pods", v1, p)
			c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
			c.Spec.VolumeName = w.pick(append([]string{"gone"}, names...))
			w.claims[ns+"/"+name] = c
			add("persistentvolumeclaims", v1, c)
			a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: w.uid()}}
			w.accounts[ns+"/"+name] = a
			add("serviceaccounts", v1, a)
		}
	}
	add("csidrivers", storagev1.SchemeGroupVersion, &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "file.csi.azure.com"},
		Spec: storagev1.CSIDriverSpec{TokenRequests: []storagev1.TokenRequest{{Audience: "migrated"}}}})
	return w
}

// allowing is an authorizer that allows all or nothing.
type allowing struct{ w *restrictionWorld }

func (a allowing) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.w.grants {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// attempt is a write, with objects of Kubernetes' versioned types.
type attempt struct {
	op       apiserver.Operation
	gvr      schema.GroupVersionResource
	kind     string
	sub      string
	ns, name string
	obj, old client.Object
	body     runtime.Object
}

// internal returns an object as Kubernetes' admission sees it.
func internal(t *testing.T, obj runtime.Object) runtime.Object {
	t.Helper()
	obj = obj.DeepCopyObject() // conversion may take parts of it
	kinds, _, err := legacyscheme.Scheme.ObjectKinds(obj)
	must(t, err)
	out, err := legacyscheme.Scheme.ConvertToVersion(obj, schema.GroupVersion{Group: kinds[0].Group, Version: runtime.APIVersionInternal})
	must(t, err)
	return out
}

func (w *restrictionWorld) theirs(t *testing.T, a *attempt, id *apiserver.Identity) error {
	gvk := a.gvr.GroupVersion().WithKind(a.kind)
	var obj, old runtime.Object
	switch {
	case a.body != nil:
		obj = internal(t, a.body)
	case a.obj != nil:
		obj = internal(t, a.obj)
	}
	if a.old != nil {
		old = internal(t, a.old)
	}
	attrs := admission.NewAttributesRecord(obj, old, gvk, a.ns, a.name, a.gvr, a.sub, admission.Operation(a.op), nil, false,
		&user.DefaultInfo{Name: id.User, Groups: id.Groups})
	if !w.plugin.Handles(attrs.GetOperation()) {
		return nil
	}
	return w.plugin.Admit(context.Background(), attrs, nil)
}

func (w *restrictionWorld) our(a *attempt, id *apiserver.Identity) error {
	err := w.ours.Admit(context.Background(), &apiserver.AdmissionRequest{
		Operation: a.op, User: id, Ref: client.Ref{GroupVersionResource: a.gvr, Namespace: a.ns, Name: a.name, Subresource: a.sub},
		Object: a.obj, Old: a.old, Body: a.body,
		Lookup: func(ref client.Ref) (client.Object, bool, error) {
			obj := w.all[ref]
			return obj, obj != nil, nil
		},
		Authorize: func(apiserver.Attributes) (bool, error) { return w.grants, nil },
	})
	var status *apierrors.StatusError
	if err == nil || errors.As(err, &status) {
		return err
	}
	return apierrors.NewForbidden(a.gvr.GroupResource(), a.name, err) // as the server does
}

// TestRestriction lets nodes try random writes.
func TestRestriction(t *testing.T) {
	allowed, refusals := 0, map[string]int{}
	var w *restrictionWorld
	for i := range *writes {
		if i%500 == 0 {
			w = newRestrictionWorld(t, *seed+uint64(i))
		}
		w.grants = w.one(4)
		a := w.attempt(t)
		id := nodeUser(w.pick(nodeNames))
		switch w.IntN(30) {
		case 0:
			id.User = "system:node:"
		case 1:
			id.Groups = nil
		}
		got, want := w.our(a, id), w.theirs(t, a, id)
		if textOf(got) != textOf(want) || got != nil && onTheWire(got) != onTheWire(want) {
			t.Fatalf("%d: %s %s/%s %s/%s by %s: %v\nin Kubernetes %v", i, a.op, a.gvr.Resource, a.sub, a.ns, a.name, id.User, got, want)
		}
		if got == nil {
			allowed++
			continue
		}
		refusals[generic(textOf(got))]++
	}
	t.Logf("%d writes, %d of them allowed, refused in %d ways", *writes, allowed, len(refusals))
	if allowed < *writes/20 || len(refusals) < 45 {
		t.Errorf("the writes are poor: %d allowed, %d ways of refusal:", allowed, len(refusals))
		for text, n := range refusals {
			t.Log(n, text)
		}
	}
}

// onTheWire is how clients see an error, but for its text.
func onTheWire(err error) string {
	status := responsewriters.ErrorToAPIStatus(err)
	return fmt.Sprint(status.Code, status.Reason, status.Details)
}

// textOf returns an error's text without the difference between Kubernetes' internal types, which have other names.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if before, _, ok := strings.Cut(text, "status.conditions: "); ok {
		return before
	}
	return text
}

// generic leaves out what differs from object to object, to count the ways of refusal.
func generic(text string) string {
	if _, after, ok := strings.Cut(text, "is forbidden: "); ok {
		text = after
	}
	var words []string
	for word := range strings.FieldsSeq(text) {
		if strings.ContainsAny(word, `"0123456789`) || strings.Contains(word, "kubernetes.io") {
			word = "_"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (w *restrictionWorld) signingRequest(t *testing.T, commonName string) []byte {
	t.Helper()
	if w.requests[commonName] == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
		must(t, err)
		der, err := x509.CreateCertificateRequest(cryptorand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}, key)
		must(t, err)
		w.requests[commonName] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	return w.requests[commonName]
}
