package rest

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	storagev1 "k8s.io/api/storage/v1"
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/inboard/inboard/apiserver/client"
)

// known are the groups whose Go types a Client decodes to without being told.
var known = []func(*runtime.Scheme) error{
	corev1.AddToScheme, appsv1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme,
	autoscalingv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, certificatesv1.AddToScheme,
	coordinationv1.AddToScheme, discoveryv1.AddToScheme, eventsv1.AddToScheme, flowcontrolv1.AddToScheme,
	networkingv1.AddToScheme, nodev1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme, resourcev1.AddToScheme,
	schedulingv1.AddToScheme, schedulingv1beta1.AddToScheme, storagev1.AddToScheme, storagemigrationv1.AddToScheme,
	admissionregistrationv1.AddToScheme,
}

// coding is the runtime.NegotiatedSerializer of a Client. It keeps objects in the version in which
// they travel, and leaves kinds without a Go type unstructured.
type coding struct {
	scheme *runtime.Scheme
	codecs serializer.CodecFactory
	params runtime.ParameterCodec
}

func newCoding(more []func(*runtime.Scheme) error) (*coding, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	for _, add := range slices.Concat(known, more) {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("rest: Config.Types: %w", err)
		}
	}
	return &coding{scheme, serializer.NewCodecFactory(scheme), runtime.NewParameterCodec(scheme)}, nil
}

func (c *coding) SupportedMediaTypes() []runtime.SerializerInfo {
	return c.codecs.SupportedMediaTypes()
}

func (c *coding) EncoderForVersion(enc runtime.Encoder, _ runtime.GroupVersioner) runtime.Encoder {
	return encoder{enc, c.scheme}
}

func (c *coding) DecoderToVersion(dec runtime.Decoder, _ runtime.GroupVersioner) runtime.Decoder {
	return decoder{dec, c.scheme}
}

// decoder falls back to unstructured objects, and sets apiVersion and kind, which the typed
// decoders leave empty in some formats.
type decoder struct {
	runtime.Decoder
	scheme *runtime.Scheme
}

func (d decoder) Decode(data []byte, def *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, gvk, err := d.Decoder.Decode(data, def, into)
	if runtime.IsNotRegisteredError(err) && into == nil {
		return unstructured.UnstructuredJSONScheme.Decode(data, def, nil)
	}
	if err == nil {
		setKind(d.scheme, obj)
	}
	return obj, gvk, err
}

// setKind fills in apiVersion and kind from the Go type.
func setKind(scheme *runtime.Scheme, obj runtime.Object) {
	if kinds, _, err := scheme.ObjectKinds(obj); err == nil && obj.GetObjectKind().GroupVersionKind().Empty() {
		obj.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
}

// encoder writes apiVersion and kind also for objects that carry none, without changing them.
type encoder struct {
	runtime.Encoder
	scheme *runtime.Scheme
}

func (e encoder) Encode(obj runtime.Object, w io.Writer) error {
	if _, ok := obj.(runtime.Unstructured); ok {
		// No other encoder has a form for these; see body for the content type.
		return json.NewEncoder(w).Encode(obj)
	}
	if obj.GetObjectKind().GroupVersionKind().Empty() {
		obj = obj.DeepCopyObject()
		setKind(e.scheme, obj)
	}
	return e.Encoder.Encode(obj, w)
}

// list makes a client.List of a decoded list of any kind. The items are not copied.
func (c *coding) list(obj runtime.Object) (*client.List, error) {
	from, err := meta.ListAccessor(obj)
	if err != nil {
		return nil, fmt.Errorf("rest: the API answered a list request with a %T", obj)
	}
	l := &client.List{ListMeta: metav1.ListMeta{
		ResourceVersion: from.GetResourceVersion(), Continue: from.GetContinue(),
		RemainingItemCount: from.GetRemainingItemCount(),
	}}
	l.SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	l.Items = make([]runtime.Object, 0, meta.LenList(obj))
	err = meta.EachListItem(obj, func(item runtime.Object) error {
		setKind(c.scheme, item)
		l.Items = append(l.Items, item)
		return nil
	})
	return l, err
}
