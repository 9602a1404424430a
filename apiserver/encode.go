package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/store"
)

// Keys under which entries keep their encodings, made once for all who ask.
type (
	jsonKey      struct{}
	goneJSONKey  struct{}
	protoKey     struct{}
	goneProtoKey struct{}
)

// versionKey is a key for what is made of an entry in a further version.
type versionKey struct {
	kind schema.GroupVersionKind
	what string
	row  *resource // when it is for one row alone
}

// cacheKeys are the keys for one version of a kind. Object and goneObject are for the object itself.
type cacheKeys struct{ json, goneJSON, proto, goneProto, object, goneObject any }

var storedKeys = cacheKeys{json: jsonKey{}, goneJSON: goneJSONKey{}, proto: protoKey{}, goneProto: goneProtoKey{}}

func versionKeys(kind schema.GroupVersionKind) cacheKeys {
	return cacheKeysOf(versionKey{kind: kind})
}

// rowKeys are the keys for a row whose decoding is its own.
func rowKeys(r *resource) cacheKeys { return cacheKeysOf(versionKey{row: r}) }

func cacheKeysOf(base versionKey) cacheKeys {
	key := func(what string) any { base.what = what; return base }
	return cacheKeys{key("json"), key("gone json"), key("proto"), key("gone proto"), key("object"), key("gone object")}
}

// encodeJSON returns an object's JSON in a version, which is kept with its entry if it has one.
func (f *found) encodeJSON(as *resource) ([]byte, error) {
	if as.Custom != nil {
		return f.encodeCustomJSON(as)
	}
	encode := func() ([]byte, error) {
		obj, err := f.shown(as)
		if err != nil {
			return nil, err
		}
		return json.Marshal(obj)
	}
	if f.at == nil {
		return encode()
	}
	return cachedBytes(f.at, f.key(as.keys.json, as.keys.goneJSON), encode)
}

// encodeProto returns an object's protobuf message in a version. What is not in the stored bytes is kept with the
// entry.
func (f *found) encodeProto(as *resource) (encoded, error) {
	if f.at != nil && as.version == nil {
		if m, ok := messageAt(f.state.Value, f.at.ModRevision); ok {
			return encoded{stored: m}, nil
		}
	}
	encode := func() ([]byte, error) {
		obj, err := f.shown(as)
		if err != nil {
			return nil, err
		}
		return marshalProto(obj)
	}
	var b []byte
	var err error
	if f.at == nil {
		b, err = encode()
	} else {
		b, err = cachedBytes(f.at, f.key(as.keys.proto, as.keys.goneProto), encode)
	}
	return encoded{made: b}, err
}

// marshalProto returns an object's message, without envelope; it is not nil.
func marshalProto(obj runtime.Object) ([]byte, error) {
	m, ok := obj.(protoMessage)
	if !ok {
		return nil, notAcceptable(false)
	}
	b, err := m.Marshal()
	if b == nil {
		b = []byte{}
	}
	return b, err
}

func cachedBytes(e *store.Entry, key any, encode func() ([]byte, error)) ([]byte, error) {
	v, err := e.Cached(key, func(*store.Entry) (any, error) { return encode() })
	if err != nil {
		return nil, err
	}
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("apiserver: the entry %s keeps a %T as its encoding", e.Key, v)
	}
	return b, nil
}

func typeOf(obj runtime.Object) metav1.TypeMeta {
	return typeMeta(obj.GetObjectKind().GroupVersionKind())
}

func typeMeta(kind schema.GroupVersionKind) metav1.TypeMeta {
	apiVersion, name := kind.ToAPIVersionAndKind()
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: name}
}

// encode returns an object in the given media type and version.
func (f *found) encode(media string, as *resource) ([]byte, error) {
	if media == mediaProto {
		m, err := f.encodeProto(as)
		if err != nil {
			return nil, err
		}
		size := m.size()
		buf := as.envelope.begin(make([]byte, 0, as.envelope.size(size)), size)
		return as.envelope.end(m.append(buf)), nil
	}
	b, err := f.encodeJSON(as)
	if err != nil || media == mediaJSON {
		return b, err
	}
	return yaml.JSONToYAML(b)
}

// encodeObject returns an object that is not stored, such as a Status, in the given media type.
func encodeObject(media string, obj runtime.Object) ([]byte, error) {
	if media == mediaProto {
		b, err := marshalProto(obj)
		if err != nil {
			return nil, err
		}
		return newEnvelope(typeOf(obj)).wrap(b), nil
	}
	b, err := json.Marshal(obj)
	if err != nil || media == mediaJSON {
		return b, err
	}
	return yaml.JSONToYAML(b)
}

// listHead is a list without its items.
type listHead struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
}

// encodeListJSON writes a list from its items' JSON. As in Kubernetes, the items of a typed list have
// no type of their own.
func encodeListJSON(head listHead, items []found, as *resource) ([]byte, error) {
	b, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	size := len(b) + 16
	parts := make([][]byte, len(items))
	for i := range items {
		part, err := items[i].encodeJSON(as)
		if err != nil {
			return nil, err
		}
		if _, partial := items[i].obj.(*metav1.PartialObjectMetadata); partial || as.Custom != nil {
			parts[i] = part[1:] // as in Kubernetes, these keep theirs
		} else {
			parts[i] = withoutType(part, as.jsonType)
		}
		size += len(parts[i]) + 2
	}
	buf := append(make([]byte, 0, size), b[:len(b)-1]...)
	if len(items) == 0 && head.Kind == "PartialObjectMetadataList" {
		return append(buf, `,"items":null}`...), nil // as in Kubernetes
	}
	buf = append(buf, `,"items":[`...)
	for i, part := range parts {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(append(buf, '{'), part...)
	}
	return append(buf, `]}`...), nil
}

// jsonType is how the JSON of objects of a type begins: the Go types of the API have these fields first.
func jsonType(kind schema.GroupVersionKind) string {
	apiVersion, name := kind.ToAPIVersionAndKind()
	return fmt.Sprintf(`{"kind":%q,"apiVersion":%q`, name, apiVersion)
}

// withoutType returns the JSON of an object after its opening brace and its type.
func withoutType(b []byte, jsonType string) []byte {
	rest, ok := bytes.CutPrefix(b, []byte(jsonType))
	if !ok {
		return b[1:]
	}
	return bytes.TrimPrefix(rest, []byte(","))
}

// encodeList returns a list in JSON or YAML; the items are shown as the resource.
func encodeList(media string, head listHead, items []found, as *resource) ([]byte, error) {
	b, err := encodeListJSON(head, items, as)
	if err != nil || media == mediaJSON {
		return b, err
	}
	return yaml.JSONToYAML(b)
}
