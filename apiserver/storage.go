package apiserver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// protoMagic begins values in Kubernetes' protobuf storage form: a runtime.Unknown follows, as in
// etcd under a kube-apiserver. Values of types without protobuf are JSON.
var protoMagic = []byte("k8s\x00")

// protoMessage is what the types of k8s.io/api have.
type protoMessage interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// sizedMessage is what these types have, too: they marshal into a buffer that is there.
type sizedMessage interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

// maxObject is the largest stored size of an object in bytes, as etcd's default is.
const maxObject = 1536 << 10

// encode returns the storage form of an object. Its resourceVersion is the revision of its key, so it
// is not part of the value.
func (r *resource) encode(obj client.Object) ([]byte, error) {
	version := obj.GetResourceVersion()
	if version != "" {
		obj.SetResourceVersion("")
		defer obj.SetResourceVersion(version)
	}
	if r.Custom != nil {
		return r.encodeCustom(obj)
	}
	m, ok := obj.(protoMessage)
	if !ok {
		return json.Marshal(obj)
	}
	sized, ok := obj.(sizedMessage)
	if !ok {
		raw, err := m.Marshal()
		return r.envelope.wrap(raw), err
	}
	size := sized.Size()
	buf := r.envelope.begin(make([]byte, 0, r.envelope.size(size)), size)
	at := len(buf)
	if _, err := sized.MarshalToSizedBuffer(buf[at : at+size]); err != nil {
		return nil, err
	}
	return r.envelope.end(buf[:at+size]), nil
}

// decodeValue turns a stored value into a new object.
func (r *resource) decodeValue(value []byte) (client.Object, error) {
	if r.Custom != nil {
		obj, err := r.Custom.Decode(value)
		if err != nil {
			return nil, err
		}
		return obj, nil
	}
	obj := r.new()
	if !bytes.HasPrefix(value, protoMagic) {
		if err := json.Unmarshal(value, obj); err != nil {
			return nil, err
		}
		return obj, nil
	}
	m, ok := obj.(protoMessage)
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf form", obj)
	}
	raw, ok := storedMessage(value)
	if !ok { // others may write envelopes differently
		var u runtime.Unknown
		if err := u.Unmarshal(value[len(protoMagic):]); err != nil {
			return nil, err
		}
		raw = u.Raw
	}
	if err := m.Unmarshal(raw); err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind)
	if r.Decoded != nil {
		r.Decoded(obj)
	}
	return obj, nil
}

// decodeEntry is the function that store.Entry.Decoded calls.
func (r *resource) decodeEntry(e *store.Entry) (any, error) {
	if r.Custom != nil {
		return r.decodeCustomEntry(e)
	}
	obj, err := r.decodeValue(e.Value)
	if err != nil {
		return nil, fmt.Errorf("apiserver: the stored object %s is damaged: %w", e.Key, err)
	}
	obj.SetResourceVersion(formatVersion(e.ModRevision))
	return obj, nil
}

// object returns the entry's object, which is shared by all readers.
func (r *resource) object(e *store.Entry) (client.Object, error) {
	if r.Custom != nil {
		return r.custom(e, customKey{r: r}, func() (client.Object, error) { return r.decodeCustomEntry(e) })
	}
	v, err := e.Decoded(r.decode)
	if err != nil {
		return nil, err
	}
	return v.(client.Object), nil
}

// passing is object for who looks at it once: what it decodes is not kept.
func (r *resource) passing(e *store.Entry) (client.Object, error) {
	if r.Custom != nil {
		return r.object(e)
	}
	v, made := e.Peek()
	if !made {
		var err error
		if v, err = r.decode(e); err != nil {
			return nil, err
		}
	}
	return v.(client.Object), nil
}

func formatVersion(rev int64) string { return strconv.FormatInt(rev, 10) }

// parseVersion reads a resourceVersion; "" is 0.
func parseVersion(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, err
	}
	return int64(n), nil
}

// Stored tells how the objects of a kind lie in a server's store, for who reads them there without the
// server. What it reads it shares with the server.
type Stored struct{ r *resource }

// StoredAs returns the Stored of a row of the table of kinds.
func StoredAs(k Kind) (Stored, error) {
	r, err := newResource(k)
	return Stored{r}, err
}

// Prefix is what the keys of all objects begin with. The rest is NAME, or NAMESPACE/NAME.
func (s Stored) Prefix() string { return s.r.prefix }

// Object returns the object of an entry, which is shared and read-only.
func (s Stored) Object(e *store.Entry) (client.Object, error) { return s.r.object(e) }

// StoredPrefix is what the keys of all objects of a resource begin with; see Stored.Prefix.
func StoredPrefix(gr schema.GroupResource) string {
	return keyRoot + cmp.Or(gr.Group, "core") + "/" + gr.Resource + "/"
}
