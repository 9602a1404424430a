package apiserver_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/apitest"
)

// Who may write a claim's status may not yet allocate, nor speak for a driver: a driver's pod may for devices on
// its own node with less than others need.
func TestClaimStatusNeedsRights(t *testing.T) {
	grants := map[string]bool{}
	s := apitest.Open(t, func(c *apiserver.Config) {
		c.Authorizer = apiserver.AuthorizerFunc(func(_ context.Context, a *apiserver.Attributes) (bool, string, error) {
			return a.Subresource == "status" || grants[a.Verb+" "+a.Resource+"/"+a.Subresource+" "+a.Name], "", nil
		})
	})
	claims := client.For[*resourcev1.ResourceClaim](s.Admin())
	claim, err := claims.Create(t.Context(), &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c"},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
			{Name: "a", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	driver := client.For[*resourcev1.ResourceClaim](s.API.Client(apiserver.Identity{
		User: "system:serviceaccount:default:driver", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"n1"}},
	}))
	write := func(want string) {
		t.Helper()
		out, err := driver.UpdateStatus(t.Context(), claim)
		switch {
		case want == "" && err != nil:
			t.Fatal(err)
		case want == "":
			claim = out
		case err == nil || !strings.Contains(err.Error(), want):
			t.Fatalf("%v, want %s", err, want)
		}
	}
	claim.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{
		Results: []resourcev1.DeviceRequestAllocationResult{{Request: "a", Driver: "gpu.example.com", Pool: "n1", Device: "gpu-0"}},
	}, NodeSelector: onNode("n1")}
	write(`cannot update resource "resourceclaims/binding"`)
	grants["update resourceclaims/binding "] = true
	write("")
	claim.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "gpu.example.com", Pool: "n1", Device: "gpu-0"}}
	write(`verb="[associated-node:update arbitrary-node:update]" permission`)
	grants["associated-node:update resourceclaims/driver gpu.example.com"] = true
	write("")
}

func onNode(name string) *corev1.NodeSelector {
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
		{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}},
	}}}}
}
