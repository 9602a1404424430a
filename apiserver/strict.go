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
// nothing, as fieldValidation asks for.
func decodeStrictly(rq *request, data []byte, into runtime.Object, fieldValidation string) error {
	if u, ok := into.(*customType); ok {
		return receiveCustom(rq, data, u, fieldValidation)
	}
	if fieldValidation == metav1.FieldValidationIgnore {
		return kjson.UnmarshalCaseSensitivePreserveInts(data, into)
	}
	strict, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		return err
	}
	return rq.tellStrict(strict, fieldValidation)
}

// receiveCustom is decodeStrictly for custom objects.
func receiveCustom(rq *request, data []byte, into *customType, fieldValidation string) error {
	unmarshal := func(v any) ([]error, error) { return kjson.UnmarshalStrict(data, v) }
	if fieldValidation == metav1.FieldValidationIgnore {
		unmarshal = func(v any) ([]error, error) { return nil, kjson.UnmarshalCaseSensitivePreserveInts(data, v) }
	}
	strict, err := decodeCustom(rq, data, into, unmarshal)
	if err != nil || fieldValidation == metav1.FieldValidationIgnore {
		return err
	}
	return rq.tellStrict(strict, fieldValidation)
}

// tellStrict makes an error or warnings of what strict decoding found.
func (rq *request) tellStrict(strict []error, fieldValidation string) error {
	if fieldValidation == metav1.FieldValidationStrict && len(strict) > 0 {
		return strictError(strict)
	}
	for _, e := range strict {
		rq.warn(e.Error())
	}
	return nil
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
