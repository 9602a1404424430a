package openapi

import "encoding/json"

// schemaObject is a JSON schema as both versions of OpenAPI write it, but for references.
type schemaObject struct {
	Ref         string                   `json:"$ref,omitempty"`
	AllOf       []*schemaObject          `json:"allOf,omitempty"`
	OneOf       []*schemaObject          `json:"oneOf,omitempty"`
	Description string                   `json:"description,omitempty"`
	Type        string                   `json:"type,omitempty"`
	Format      string                   `json:"format,omitempty"`
	Default     any                      `json:"default,omitempty"`
	Enum        []string                 `json:"enum,omitempty"`
	Required    []string                 `json:"required,omitempty"`
	Properties  map[string]*schemaObject `json:"properties,omitempty"`
	Items       *schemaObject            `json:"items,omitempty"`
	Additional  *schemaObject            `json:"additionalProperties,omitempty"`
	UniqueItems bool                     `json:"uniqueItems,omitempty"`
	extensions
	// raw is the whole schema of what has no Go type.
	raw json.RawMessage
}

// plainSchema is a schemaObject that is written field by field.
type plainSchema schemaObject

// MarshalJSON writes the schema.
func (s *schemaObject) MarshalJSON() ([]byte, error) {
	if s.raw != nil {
		return s.raw, nil
	}
	return json.Marshal((*plainSchema)(s))
}

// extensions are Kubernetes' own.
type extensions struct {
	Kinds         []groupVersionKind `json:"x-kubernetes-group-version-kind,omitempty"`
	ListMapKeys   []string           `json:"x-kubernetes-list-map-keys,omitempty"`
	ListType      string             `json:"x-kubernetes-list-type,omitempty"`
	MapType       string             `json:"x-kubernetes-map-type,omitempty"`
	PatchMergeKey string             `json:"x-kubernetes-patch-merge-key,omitempty"`
	PatchStrategy string             `json:"x-kubernetes-patch-strategy,omitempty"`
}

type groupVersionKind struct {
	Group   string `json:"group"`
	Kind    string `json:"kind"`
	Version string `json:"version"`
}
