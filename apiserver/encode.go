package apiserver

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"

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
}

// cacheKeys are the keys for one version of a kind. Object and goneObject are for the object itself.
type cacheKeys struct{ json, goneJSON, proto, goneProto, object, goneObject any }

var storedKeys = cacheKeys{json: jsonKey{}, goneJSON: goneJSONKey{}, proto: protoKey{}, goneProto: goneProtoKey{}}

func versionKeys(kind schema.GroupVersionKind) cacheKeys {
	key := func(what string) any { return versionKey{kind, what} }
	return cacheKeys{key("json"), key("gone json"), key("proto"), key("gone proto"), key("object"), key("gone object")}
}

// place is where something made of an object is kept: with its entry. The zero place keeps nothing.
type place struct {
	entry *store.Entry
	// gone tells that the object is the last state before the one of the entry; see change.
	gone bool
	keys *cacheKeys
}

func (p *place) key(there, gone any) any {
	if p.gone {
		return gone
	}
	return there
}

// cachedJSON returns the JSON of an object, which is kept with its entry if it has one.
func cachedJSON(obj runtime.Object, at place) ([]byte, error) {
	if at.entry == nil {
		return json.Marshal(obj)
	}
	return cachedBytes(at.entry, at.key(at.keys.json, at.keys.goneJSON), func() ([]byte, error) { return json.Marshal(obj) })
}

// cachedProto returns the protobuf message of an object, without envelope.
func cachedProto(obj runtime.Object, at place) ([]byte, error) {
	m, ok := obj.(protoMessage)
	if !ok {
		return nil, notAcceptable()
	}
	if at.entry == nil {
		return m.Marshal()
	}
	return cachedBytes(at.entry, at.key(at.keys.proto, at.keys.goneProto), m.Marshal)
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

// envelope wraps a protobuf message as Kubernetes does.
func envelope(tm metav1.TypeMeta, raw []byte) ([]byte, error) {
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: tm.APIVersion, Kind: tm.Kind}, Raw: raw}
	buf := make([]byte, len(protoMagic)+u.Size())
	copy(buf, protoMagic)
	_, err := u.MarshalTo(buf[len(protoMagic):])
	return buf, err
}

func typeOf(obj runtime.Object) metav1.TypeMeta {
	apiVersion, kind := obj.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind()
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// encodeObject returns an object in the given media type.
func encodeObject(media string, obj runtime.Object, at place) ([]byte, error) {
	switch media {
	case mediaProto:
		raw, err := cachedProto(obj, at)
		if err != nil {
			return nil, err
		}
		return envelope(typeOf(obj), raw)
	case mediaYAML:
		b, err := cachedJSON(obj, at)
		if err != nil {
			return nil, err
		}
		return yaml.JSONToYAML(b)
	}
	return cachedJSON(obj, at)
}

// listHead is a list without its items.
type listHead struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
}

// encodeListJSON writes a list from its items' JSON. As in Kubernetes, the items of a typed list have
// no type of their own.
func encodeListJSON(head listHead, items []found, keys *cacheKeys) ([]byte, error) {
	b, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	size := len(b) + 16
	parts := make([][]byte, len(items))
	for i, f := range items {
		part, err := cachedJSON(f.obj, place{entry: f.entry, keys: keys})
		if err != nil {
			return nil, err
		}
		if _, partial := f.obj.(*metav1.PartialObjectMetadata); partial {
			parts[i] = part[1:] // as in Kubernetes, these keep theirs
		} else {
			parts[i] = withoutType(part, typeOf(f.obj))
		}
		size += len(parts[i]) + 2
	}
	buf := bytes.NewBuffer(make([]byte, 0, size))
	buf.Write(b[:len(b)-1])
	buf.WriteString(`,"items":[`)
	for i, part := range parts {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteByte('{')
		buf.Write(part)
	}
	buf.WriteString(`]}`)
	return buf.Bytes(), nil
}

// withoutType returns the JSON of an object after its opening brace and its kind and apiVersion, which
// the Go types of the API have first.
func withoutType(b []byte, tm metav1.TypeMeta) []byte {
	head := fmt.Sprintf(`{"kind":%q,"apiVersion":%q`, tm.Kind, tm.APIVersion)
	rest, ok := bytes.CutPrefix(b, []byte(head))
	if !ok {
		return b[1:]
	}
	return bytes.TrimPrefix(rest, []byte(","))
}

// encodeListProto writes a list from its items' messages: in all lists of the API, field 1 is the
// metadata and field 2 the items. It is made in one piece, envelope and all: a list may be many megabytes.
func encodeListProto(head listHead, items []found, keys *cacheKeys) ([]byte, error) {
	meta, err := head.ListMeta.Marshal()
	if err != nil {
		return nil, err
	}
	size, parts := messageSize(meta), make([][]byte, len(items))
	for i, f := range items {
		if parts[i], err = cachedProto(f.obj, place{entry: f.entry, keys: keys}); err != nil {
			return nil, err
		}
		size += messageSize(parts[i])
	}
	// The envelope's message, field 2, follows its other fields.
	outer, err := envelope(head.TypeMeta, nil)
	if err != nil {
		return nil, err
	}
	buf := append(make([]byte, 0, len(outer)+size+1+binary.MaxVarintLen64), outer...)
	buf = binary.AppendUvarint(append(buf, 2<<3|2), uint64(size))
	buf = appendMessage(buf, 1, meta)
	for _, part := range parts {
		buf = appendMessage(buf, 2, part)
	}
	return buf, nil
}

// appendMessage appends a field that holds a message (wire type 2).
func appendMessage(buf []byte, field byte, message []byte) []byte {
	return append(binary.AppendUvarint(append(buf, field<<3|2), uint64(len(message))), message...)
}

// messageSize is how many bytes appendMessage appends.
func messageSize(message []byte) int {
	return 1 + (bits.Len(uint(len(message))|1)+6)/7 + len(message)
}

// encodeList returns a list in the given media type.
func encodeList(media string, head listHead, items []found, keys *cacheKeys) ([]byte, error) {
	if media == mediaProto {
		return encodeListProto(head, items, keys)
	}
	b, err := encodeListJSON(head, items, keys)
	if err != nil || media == mediaJSON {
		return b, err
	}
	return yaml.JSONToYAML(b)
}
