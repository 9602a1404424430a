package flowcontrol

import (
	_ "embed"
	"fmt"
	"sync"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/client"
)

// defaultsText has kube-apiserver's default objects: levels and schemas with their spec.
//
//go:embed defaults.yaml
var defaultsText []byte

// DefaultObjects returns the objects that Kubernetes 1.37 has from the start, PriorityLevelConfigurations and
// FlowSchemas: the mandatory ones, "exempt" and "catch-all" of both kinds, which are kept as they are, and those that
// are suggested, which an administrator may change. They are shared: read them only.
func DefaultObjects() []client.Object { return defaults() }

var defaults = sync.OnceValue(func() []client.Object {
	var text struct {
		Levels  map[string]flowcontrolv1.PriorityLevelConfigurationSpec
		Schemas map[string]flowcontrolv1.FlowSchemaSpec
	}
	if err := yaml.UnmarshalStrict(defaultsText, &text); err != nil {
		panic(fmt.Sprintf("flowcontrol: the default objects: %v", err)) // the text is part of the program, and a test reads it
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Annotations: map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: "true"}}
	}
	var out []client.Object
	for name, spec := range text.Levels {
		out = append(out, &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: meta(name), Spec: spec})
	}
	for name, spec := range text.Schemas {
		out = append(out, &flowcontrolv1.FlowSchema{ObjectMeta: meta(name), Spec: spec})
	}
	return out
})

// mandatory tells of objects whose spec is fixed and which always are.
func mandatory(obj client.Object) bool {
	return obj.GetName() == flowcontrolv1.PriorityLevelConfigurationNameExempt || obj.GetName() == flowcontrolv1.PriorityLevelConfigurationNameCatchAll
}
