package crd_test

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// deepDefinition returns a definition with a schema of so many levels, each of which is two of JSON.
func deepDefinition(levels int) string {
	schema := strings.Repeat(`{"type":"object","properties":{"a":`, levels) + `{"type":"string"}` + strings.Repeat(`}}`, levels)
	return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"deeps.example.com"},` +
		`"spec":{"group":"example.com","scope":"Cluster","names":{"plural":"deeps","kind":"Deep"},` +
		`"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":` + schema + `}}]}}`
}

// message returns a field that is a message in protobuf.
func message(number int, parts ...[]byte) []byte {
	value := slices.Concat(parts...)
	b := binary.AppendUvarint(nil, uint64(number)<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// deepProto is a definition in protobuf whose schema says "not" so many times.
func deepProto(t *testing.T, levels int) string {
	var back []byte // from the inside out, backwards, so that it takes no longer than it is long
	for range levels {
		head := binary.AppendUvarint(binary.AppendUvarint(nil, 28<<3|2), uint64(len(back)))
		slices.Reverse(head)
		back = append(back, head...)
	}
	slices.Reverse(back)
	version := slices.Concat(message(1, []byte("v1")), []byte{2 << 3, 1, 3 << 3, 1}, message(4, message(1, back)))
	spec := slices.Concat(message(1, []byte("example.com")), message(3, message(1, []byte("deeps")), message(4, []byte("Deep"))), message(4, []byte("Cluster")), message(7, version))
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		Raw: slices.Concat(message(1, message(1, []byte("deeps.example.com"))), message(2, spec))}
	b, err := u.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return "k8s\x00" + string(b)
}

// TestDeepSchemas has schemas as deep as JSON may be, which is the bound of kube-apiserver too, and deeper ones: none
// may exhaust the stack, which would end the program.
func TestDeepSchemas(t *testing.T) {
	s := start(t)
	for levels, want := range map[int]string{5000: "must not be empty at the root", 20000: "exceeded max depth", 550000: "exceeded max depth"} {
		a := s.do("POST", definitionsPath, deepProto(t, levels), "Content-Type", "application/vnd.kubernetes.protobuf")
		if a.Code < 400 || a.Code > 499 || !strings.Contains(a.Body.String(), want) {
			t.Errorf("%d levels of protobuf: %d %.300s", levels, a.Code, a.Body)
		}
	}
	if a := s.do("POST", definitionsPath, deepDefinition(6000), "Content-Type", "application/json"); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), "exceeded max depth") {
		t.Errorf("6000 levels: %d %.300s", a.Code, a.Body)
	}
	const levels = 2000
	s.must(t, "POST", definitionsPath, deepDefinition(levels), "Content-Type", "application/json")
	s.await(t, "deeps.example.com", isServed)
	object := `{"apiVersion":"example.com/v1","kind":"Deep","metadata":{"name":"x"},"a":` + strings.Repeat(`{"a":`, levels-1) + `"x"` + strings.Repeat(`}`, levels)
	s.must(t, "POST", "/apis/example.com/v1/deeps", object)
	if got := s.must(t, "GET", "/apis/example.com/v1/deeps/x", ""); !strings.Contains(got, strings.Repeat(`{"a":`, levels-1)+`"x"`) {
		t.Errorf("%.300s", got)
	}
	for _, path := range []string{"/openapi/v3/apis/example.com/v1", "/openapi/v2"} {
		if doc := s.must(t, "GET", path, "", "Accept", "application/json"); !json.Valid([]byte(doc)) || !strings.Contains(doc, "com.example.v1.Deep") {
			t.Errorf("%s: %.300s", path, doc)
		}
	}
}
