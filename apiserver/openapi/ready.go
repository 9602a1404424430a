package openapi

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Ready returns an API whose documents were made elsewhere, in JSON: that of version 2, and those of version 3 of
// groups and versions; either may be missing. The protobuf form of version 2 is made of its JSON.
func Ready(v2 []byte, v3 map[schema.GroupVersion][]byte) *OpenAPI {
	o := &OpenAPI{v2: &document{}, v2proto: &document{}, v3: map[schema.GroupVersion]*document{}}
	o.v2.build = func() ([]byte, error) { return v2, nil }
	o.v2proto.build = func() ([]byte, error) {
		var doc object
		if err := json.Unmarshal(v2, &doc); err != nil {
			return nil, err
		}
		return encodeDocument(doc), nil
	}
	for gv, raw := range v3 {
		o.groups = append(o.groups, gv)
		o.v3[gv] = &document{build: func() ([]byte, error) { return raw, nil }}
	}
	return o
}
