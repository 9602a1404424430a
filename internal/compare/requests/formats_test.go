package requests

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metav1beta1 "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	yamlType  = "application/yaml"
	protoType = "application/vnd.kubernetes.protobuf"
	cborType  = "application/cbor"
)

var allTypes = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(s))
	utilruntime.Must(metav1.AddMetaToScheme(s))
	utilruntime.Must(metav1beta1.AddMetaToScheme(s))
	return s
}()

var unstructuredJSON = unstructured.UnstructuredJSONScheme

var protoSerializer = protobuf.NewSerializer(allTypes, allTypes)

// fromProtoStream decodes the events of a watch.
func fromProtoStream(raw []byte) (object, error) {
	next := protoEvent(bytes.NewReader(raw))
	events := []any{}
	for {
		ev, err := next()
		if err == io.EOF {
			return object{"events": events}, nil
		}
		if err != nil {
			return nil, err
		}
		events = append(events, ev)
	}
}

// protoEvent returns a function that reads one event of a watch after another.
func protoEvent(r io.Reader) func() (object, error) {
	return func() (object, error) {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return nil, err
		}
		raw := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, raw); err != nil {
			return nil, err
		}
		var ev metav1.WatchEvent
		if err := ev.Unmarshal(raw); err != nil {
			return nil, err
		}
		obj, err := fromProto(ev.Object.Raw)
		return object{"type": ev.Type, "object": obj}, err
	}
}

// fromProto decodes an object from protobuf.
func fromProto(raw []byte) (object, error) {
	obj, _, err := protoSerializer.Decode(raw, nil, nil)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	var out object
	return out, json.Unmarshal(b, &out)
}

// toProto encodes an object in protobuf; what its Go type does not know is lost.
func toProto(body []byte) ([]byte, error) {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, err
	}
	if _, ok := obj.(runtime.Unstructured); ok {
		return nil, fmt.Errorf("%T has no protobuf", obj)
	}
	return runtime.Encode(protoSerializer, obj)
}
