package apiserver_test

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// Sensor is a kind of a program's own.
type Sensor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              SensorSpec `json:"spec"`
}

// SensorSpec tells where a sensor is.
type SensorSpec struct {
	Room string `json:"room"`
}

// SensorList is a list of sensors.
type SensorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Sensor `json:"items"`
}

// DeepCopyObject makes Sensor a runtime.Object.
func (s *Sensor) DeepCopyObject() runtime.Object {
	c := *s
	s.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	return &c
}

// DeepCopyObject makes SensorList a runtime.Object.
func (l *SensorList) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = make([]Sensor, len(l.Items))
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopyObject().(*Sensor)
	}
	return &c
}

// A server serves the kinds that it is given and no others: here one, made from a Go struct.
func ExampleKind() {
	st, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: []apiserver.Kind{{
		GroupVersionKind: schema.GroupVersionKind{Group: "home.example.com", Version: "v1", Kind: "Sensor"},
		Resource:         "sensors",
		Object:           &Sensor{},
		List:             &SensorList{},
		Validate: func(obj, _ client.Object) field.ErrorList {
			if obj.(*Sensor).Spec.Room == "" {
				return field.ErrorList{field.Required(field.NewPath("spec", "room"), "")}
			}
			return nil
		},
	}}})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	sensors := client.For[*Sensor](server.Client(apiserver.Identity{User: "me", Groups: []string{apiserver.GroupMasters}}))
	s := &Sensor{ObjectMeta: metav1.ObjectMeta{Name: "door"}}
	_, err = sensors.Create(ctx, s)
	fmt.Println(err)
	s.Spec.Room = "hall"
	if s, err = sensors.Create(ctx, s); err != nil {
		panic(err)
	}
	fmt.Println(s.APIVersion, s.Name, s.Spec.Room)
	// Output:
	// Sensor.home.example.com "door" is invalid: spec.room: Required value
	// home.example.com/v1 door hall
}
