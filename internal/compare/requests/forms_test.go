package requests

import (
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"sigs.k8s.io/yaml"
)

// TestSameForms sends bodies in all media types, and accepts answers in all of them.
func TestSameForms(t *testing.T) {
	real, ours := start(t)
	found := findings{}
	total := 0
	eachKind(t, real, ours, func(k *kind) {
		for n := range *sequences / 2 {
			g := newGenerator(k, "f", n)
			f := &former{Rand: rand.New(rand.NewPCG(*seed+k.number(), uint64(n)+1<<32))}
			total += run(t, g, real, ours, found, func() request { return f.dress(g.next()) })
		}
	})
	t.Logf("%d requests", total)
	report(t, found, "forms")
}

// former changes the form of requests, not what they say.
type former struct{ *rand.Rand }

func (f *former) one(list ...string) string { return list[f.IntN(len(list))] }

// dress gives a request another media type for its body, and one for its answer.
func (f *former) dress(r request) request {
	switch n := f.IntN(12); {
	case r.body == nil && r.edit == nil:
	case r.media == applyType:
		r.encode = toYAML
	case r.method == "PATCH":
	case n < 3:
		r.media, r.encode = yamlType, toYAML
	case n < 9:
		r.media, r.encode = protoType, f.toProto(r.edit == nil)
	case n < 10:
		r.media, r.encode = cborType, toCBOR
	}
	if f.IntN(4) > 0 {
		r.header = map[string][]string{"Accept": {f.accept()}}
	}
	return r
}

// accept is a list of media types, mostly of good ones.
func (f *former) accept() string {
	var types []string
	for range []int{1, 1, 1, 2, 3}[f.IntN(5)] {
		media := f.one(jsonType, jsonType, jsonType, yamlType, protoType, protoType, cborType, "*/*", "application/*", "text/html", "Application/JSON", "", "*")
		for _, param := range []string{
			";as=" + f.one("Table", "PartialObjectMetadata", "PartialObjectMetadataList", "PartialObjectMetadata", "Status", "") +
				f.one(";g=meta.k8s.io", ";g=meta.k8s.io", ";g=meta.k8s.io", ";g=apps", "") + f.one(";v=v1", ";v=v1", ";v=v1beta1", ";v=v2", ""),
			f.one(";q=0.5", "; q=0.9", ";q=1", ";q=0", ";q=0.001", ";q=2", ";q=-1", ";q=x", ";Q=0.1"),
			f.one(";stream=watch", ";charset=utf-8", ";pretty=1", ";;", ";a=b=c", "; v=\"v1\"", ";q"),
		} {
			if f.IntN(5) < 2 {
				media += param
			}
		}
		types = append(types, media)
	}
	return strings.Join(types, f.one(",", ", ", " , "))
}

func toYAML(body []byte) []byte {
	out, err := yaml.JSONToYAML(body)
	if err != nil {
		return body
	}
	return out
}

// toProto returns an encoder into protobuf, of what its type knows. It may break the message.
func (f *former) toProto(mayBreak bool) func([]byte) []byte {
	broken, at, bit := mayBreak && f.IntN(5) == 0, f.Uint64(), f.IntN(8)
	return func(body []byte) []byte {
		out, err := toProto(body)
		if err != nil {
			return body
		}
		if broken {
			i := at % uint64(len(out))
			if bit == 0 {
				return out[:i]
			}
			out[i] ^= 1 << bit
		}
		return out
	}
}

func toCBOR(body []byte) []byte {
	obj, err := runtime.Decode(unstructuredJSON, body)
	if err != nil {
		return body
	}
	out, err := runtime.Encode(cbor.NewSerializer(allTypes, allTypes), obj)
	if err != nil {
		return body
	}
	return out
}

// number is one of the kind's own, so that kinds get other forms.
func (k *kind) number() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(k.path))
	return h.Sum64()
}
