package client

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// List is the answer to a list request, whatever the kind of its items. It holds pointers, so that
// a server in the same process can hand out its own objects without copying one; the lists of
// k8s.io/api hold values and can't.
type List struct {
	metav1.TypeMeta
	metav1.ListMeta
	// Items are shared and read-only.
	Items []runtime.Object
}

// GetObjectKind makes List a runtime.Object.
func (l *List) GetObjectKind() schema.ObjectKind { return &l.TypeMeta }

// DeepCopyObject returns a copy that shares nothing.
func (l *List) DeepCopyObject() runtime.Object {
	c := &List{TypeMeta: l.TypeMeta}
	l.ListMeta.DeepCopyInto(&c.ListMeta)
	if l.Items != nil {
		c.Items = make([]runtime.Object, len(l.Items))
		for i, o := range l.Items {
			c.Items[i] = o.DeepCopyObject()
		}
	}
	return c
}
