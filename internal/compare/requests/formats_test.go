package requests

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	yamlType  = "application/yaml"
	protoType = "application/vnd.kubernetes.protobuf"
	cborType  = "application/cbor"
)

var protoSerializer = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

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
