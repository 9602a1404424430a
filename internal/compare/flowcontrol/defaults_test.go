package flowcontrol

import (
	"fmt"
	"testing"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/flowcontrol"
)

// TestDefaultObjects compares the default objects one by one with those of kube-apiserver.
func TestDefaultObjects(t *testing.T) {
	want := map[string]client.Object{}
	add := func(o client.Object) { want[fmt.Sprintf("%T %s", o, o.GetName())] = o }
	for _, o := range append(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations...) {
		add(o)
	}
	for _, o := range append(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas...) {
		add(o)
	}
	have := flowcontrol.DefaultObjects()
	if len(have) != len(want) {
		t.Errorf("there are %d objects, Kubernetes has %d", len(have), len(want))
	}
	for _, h := range have {
		w := want[fmt.Sprintf("%T %s", h, h.GetName())]
		if !apiequality.Semantic.DeepEqual(h, w) {
			t.Errorf("%s is\n%s\nand in Kubernetes\n%s", h.GetName(), show(h), show(w))
		}
	}
}

func show(o client.Object) string {
	b, err := yaml.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
