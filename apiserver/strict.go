package apiserver

import (
	"errors"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
)

// rqNone stands in messages for no resource in particular.
var rqNone schema.GroupResource

// decodeStrictly decodes JSON into an object. Unknown and duplicate fields are an error, a warning or
// nothing, as fieldValidation asks for; before are such that were found already.
func decodeStrictly(rq *request, data []byte, into runtime.Object, fieldValidation string, before ...error) error {
	if u, ok := into.(*customType); ok {
		return receiveCustom(rq, data, u, fieldValidation, before...)
	}
	if fieldValidation == metav1.FieldValidationIgnore {
		return kjson.UnmarshalCaseSensitivePreserveInts(data, into)
	}
	strict, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		return err
	}
	return rq.tellStrict(append(before, strict...), fieldValidation)
}

// receiveCustom is decodeStrictly for custom objects.
func receiveCustom(rq *request, data []byte, into *customType, fieldValidation string, before ...error) error {
	unmarshal := func(v any) ([]error, error) { return kjson.UnmarshalStrict(data, v) }
	if fieldValidation == metav1.FieldValidationIgnore {
		unmarshal = func(v any) ([]error, error) { return nil, kjson.UnmarshalCaseSensitivePreserveInts(data, v) }
	}
	strict, err := decodeCustom(rq, data, into, unmarshal)
	if err != nil || fieldValidation == metav1.FieldValidationIgnore {
		return err
	}
	return rq.tellStrict(append(before, strict...), fieldValidation)
}

// tellStrict makes an error, warnings or nothing of what is wrong with a document beyond what it says.
func (rq *request) tellStrict(strict []error, fieldValidation string) error {
	switch {
	case len(strict) == 0 || fieldValidation == metav1.FieldValidationIgnore:
	case fieldValidation == metav1.FieldValidationStrict:
		return strictError(strict)
	default:
		for _, e := range strict {
			rq.warnStrict(e)
		}
	}
	return nil
}

// warnStrict warns of one thing that is wrong with a document, of each line of what YAML's decoder tells.
func (rq *request) warnStrict(err error) {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	lines, ok := strings.CutPrefix(text, "yaml: unmarshal errors:\n")
	if !ok {
		rq.warn(err.Error())
		return
	}
	for line := range strings.SplitSeq(lines, "\n") {
		rq.warn(strings.TrimSpace(line))
	}
}

func strictError(errs []error) error {
	texts := make([]string, len(errs))
	for i, e := range errs {
		texts[i] = e.Error()
	}
	return errors.New("strict decoding error: " + strings.Join(texts, ", "))
}

// emptyLike returns an empty object of the same Go type.
func emptyLike(obj runtime.Object) runtime.Object {
	return reflect.New(reflect.TypeOf(obj).Elem()).Interface().(runtime.Object)
}
