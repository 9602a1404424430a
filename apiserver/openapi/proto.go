package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// buildV2Proto writes the version 2 document in the protobuf form that kubectl asks for. The
// messages are those of https://github.com/google/gnostic, openapiv2/OpenAPIv2.proto; written by
// hand, they need neither gnostic nor a protobuf runtime.
func (o *OpenAPI) buildV2Proto() ([]byte, error) {
	raw, err := o.buildV2()
	if err != nil {
		return nil, err
	}
	var doc object
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	return encodeDocument(doc), nil
}

func encodeDocument(doc object) []byte {
	var b message
	b.text(1, doc["swagger"])
	info := child(doc, "info")
	var i message
	i.text(1, info["title"])
	i.text(2, info["version"])
	b.message(2, i)
	var paths message
	eachOf(child(doc, "paths"), func(name string, v object) {
		paths.message(2, namedMessage(name, encodePath(v)))
	})
	b.message(8, paths)
	b.message(9, encodeSchemas(child(doc, "definitions")))
	for _, s := range list(doc["security"]) {
		var requirement message
		eachOf(s, func(name string, _ object) { requirement.message(1, namedMessage(name, nil)) })
		b.message(12, requirement)
	}
	var security message
	eachOf(child(doc, "securityDefinitions"), func(name string, v object) {
		var key, item message
		key.text(1, v["type"])
		key.text(2, v["name"])
		key.text(3, v["in"])
		key.text(4, v["description"])
		item.message(2, key)
		security.message(1, namedMessage(name, item))
	})
	b.message(13, security)
	return b
}

func encodePath(v object) message {
	var b message
	for method, number := range map[string]int{"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8} {
		if op := child(v, method); op != nil {
			b.message(number, encodeOperation(op))
		}
	}
	encodeParameters(&b, 9, v["parameters"])
	return b
}

func encodeOperation(v object) message {
	var b message
	b.texts(1, v["tags"])
	b.text(3, v["description"])
	b.text(5, v["operationId"])
	b.texts(6, v["produces"])
	b.texts(7, v["consumes"])
	encodeParameters(&b, 8, v["parameters"])
	var responses message
	eachOf(child(v, "responses"), func(code string, r object) {
		var response, value message
		response.text(1, r["description"])
		if s := child(r, "schema"); s != nil {
			var item message
			item.message(1, encodeSchema(s))
			response.message(2, item)
		}
		value.message(1, response)
		responses.message(1, namedMessage(code, value))
	})
	b.message(9, responses)
	b.texts(10, v["schemes"])
	b.extensions(13, v)
	return b
}

func encodeParameters(b *message, number int, params any) {
	for _, p := range list(params) {
		var parameter, item message
		if p["in"] == "body" {
			var body message
			body.text(1, p["description"])
			body.text(2, p["name"])
			body.text(3, p["in"])
			body.flag(4, p["required"])
			body.message(5, encodeSchema(child(p, "schema")))
			parameter.message(1, body)
		} else {
			parameter.message(2, encodeNonBody(p))
		}
		item.message(1, parameter)
		b.message(number, item)
	}
}

func encodeNonBody(p object) message {
	var sub, b message
	sub.flag(1, p["required"])
	sub.text(2, p["in"])
	sub.text(3, p["description"])
	sub.text(4, p["name"])
	if p["in"] == "path" {
		sub.text(5, p["type"])
		sub.flag(19, p["uniqueItems"])
		b.message(4, sub)
		return b
	}
	sub.text(6, p["type"])
	sub.flag(20, p["uniqueItems"])
	b.message(3, sub)
	return b
}

func encodeSchemas(schemas object) message {
	var b message
	eachOf(schemas, func(name string, v object) { b.message(1, namedMessage(name, encodeSchema(v))) })
	return b
}

func encodeSchema(v object) message {
	var b message
	b.text(1, v["$ref"])
	b.text(2, v["format"])
	b.text(4, v["description"])
	if d, ok := v["default"]; ok {
		b.message(5, anyValue(d))
	}
	b.texts(19, v["required"])
	if values, ok := v["enum"].([]any); ok {
		for _, e := range values {
			b.message(20, anyValue(e))
		}
	}
	if s := child(v, "additionalProperties"); s != nil {
		var item message
		item.message(1, encodeSchema(s))
		b.message(21, item)
	}
	if t, ok := v["type"].(string); ok {
		var item message
		item.text(1, t)
		b.message(22, item)
	}
	if s := child(v, "items"); s != nil {
		var item message
		item.message(1, encodeSchema(s))
		b.message(23, item)
	}
	if p := child(v, "properties"); p != nil {
		b.message(25, encodeSchemas(p))
	}
	b.extensions(31, v)
	return b
}

func child(v object, name string) object {
	c, _ := v[name].(object)
	return c
}

// list returns the objects of a JSON list.
func list(v any) []object {
	var out []object
	items, _ := v.([]any)
	for _, item := range items {
		if o, ok := item.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

// eachOf calls f for each entry, in order of name.
func eachOf(v object, f func(name string, v object)) {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		c, _ := v[name].(object)
		f(name, c)
	}
}

// message is an encoded protobuf message, https://protobuf.dev/programming-guides/encoding.
type message []byte

const (
	wireVarint = 0
	wireBytes  = 2
)

func (b *message) varint(n uint64) {
	for n >= 0x80 {
		*b = append(*b, byte(n)|0x80)
		n >>= 7
	}
	*b = append(*b, byte(n))
}

func (b *message) message(number int, m message) {
	b.varint(uint64(number)<<3 | wireBytes)
	b.varint(uint64(len(m)))
	*b = append(*b, m...)
}

func (b *message) text(number int, v any) {
	if s, ok := v.(string); ok && s != "" {
		b.message(number, message(s))
	}
}

func (b *message) texts(number int, v any) {
	items, _ := v.([]any)
	for _, item := range items {
		b.message(number, message(fmt.Sprint(item)))
	}
}

func (b *message) flag(number int, v any) {
	if v == true {
		b.varint(uint64(number)<<3 | wireVarint)
		b.varint(1)
	}
}

// extensions writes the fields whose names begin with x-. Values of any type are YAML, of which
// JSON is a part.
func (b *message) extensions(number int, v object) {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !strings.HasPrefix(name, "x-") {
			continue
		}
		b.message(number, namedMessage(name, anyValue(v[name])))
	}
}

func anyValue(v any) message {
	var b message
	if yaml, err := json.Marshal(v); err == nil { // it was decoded from JSON
		b.text(2, string(yaml))
	}
	return b
}

func namedMessage(name string, value message) message {
	var b message
	b.text(1, name)
	b.message(2, value)
	return b
}
