package kinds

import (
	"context"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"

	"github.com/inboard/inboard/apiserver/kinds/resource"
)

// yes lets everyone do everything.
type yes struct{}

func (yes) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionAllow, "", nil
}

// What is allocated to a claim, and who has it, is checked as in Kubernetes, and becomes the same.
func TestClaimStatus(t *testing.T) {
	k, found := resource.ResourceClaim(), findings{}
	c := &comparison{kind: k, found: found, theirs: theirs{k.GroupVersionKind}}
	base := resourceclaim.NewStrategy(allowed{}, yes{})
	strategy := resourceclaim.NewStatusStrategy(base)
	for i := range *runs {
		c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
		old := c.sample(t).(*resourcev1.ResourceClaim)
		k.Default(old)
		old.SetResourceVersion("1")
		if c.IntN(3) == 0 {
			c.allocate(old)
		}
		if c.IntN(6) == 0 {
			now := metav1.Now()
			old.DeletionTimestamp = &now
		}
		asked := copyOf(old).(*resourcev1.ResourceClaim)
		switch c.IntN(4) {
		case 0:
			asked.Status = resourcev1.ResourceClaimStatus{}
		case 1, 2:
			c.allocate(asked)
		}
		mutator{c.Rand}.mutate(&asked.Status, c.IntN(3))
		k.Default(asked)
		in, was := c.internalOf(t, asked), c.internalOf(t, old)
		ctx := genericapirequest.WithUser(c.theirs.ctx("status"), &user.DefaultInfo{Name: "admin"})
		strategy.PrepareForUpdate(ctx, in, was)
		theirErrs := declared(ctx, strategy, in, was, strategy.ValidateUpdate(ctx, in, was), operation.Update)
		stored, err := c.theirs.stored(in)
		if err != nil {
			t.Fatal(err)
		}
		before := text(asked) + "\nfrom\n" + text(old)
		k.PrepareStatus(asked, old)
		errs := k.ValidateStatus(asked, old)
		c.report("status", errs, theirErrs, before)
		if len(errs) > 0 {
			continue
		}
		c.accepted++
		if d := firstDifference(asked.Status, stored.(*resourcev1.ResourceClaim).Status); d != "" {
			c.found.add(k.Kind, "prepare status "+where(d), d)
		}
	}
	t.Logf("%d of %d accepted", c.accepted, *runs)
	if c.accepted == 0 {
		t.Error("no change was accepted")
	}
	found.unknown(t)
}

// allocate gives a claim a device, and someone the claim.
func (c *comparison) allocate(o *resourcev1.ResourceClaim) {
	share := types.UID("0f6b2f0a-1f9e-4a7c-9d0a-0b0a5f6c7d8e")
	names := []string{"one", "any", "any/big", "none"}
	r := resourcev1.DeviceRequestAllocationResult{Request: names[c.IntN(4)], Driver: "gpu.example.com", Pool: "n1", Device: "gpu-0"}
	if c.IntN(3) == 0 {
		r.ShareID = &share
	}
	if c.IntN(3) == 0 {
		r.BindingConditions, r.BindingFailureConditions = []string{"example.com/ready"}, []string{"example.com/failed"}
	}
	o.Status.Allocation = &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{r}}}
	if c.IntN(3) == 0 {
		o.Status.Allocation.NodeSelector = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
			{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"n1"}},
		}}}}
	}
	if c.IntN(3) == 0 {
		o.Status.Allocation.Devices.Config = []resourcev1.DeviceAllocationConfiguration{{Source: resourcev1.AllocationConfigSourceClass,
			DeviceConfiguration: resourcev1.DeviceConfiguration{Opaque: &resourcev1.OpaqueDeviceConfiguration{
				Driver: "gpu.example.com", Parameters: runtime.RawExtension{Raw: []byte(`{"a":1}`)}}}}}
	}
	if c.IntN(2) == 0 {
		o.Status.ReservedFor = append(o.Status.ReservedFor, resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: "web", UID: types.UID(c.text())})
	}
	if c.IntN(2) == 0 {
		d := resourcev1.AllocatedDeviceStatus{Driver: r.Driver, Pool: r.Pool, Device: r.Device, ShareID: (*string)(r.ShareID)}
		d.NetworkData = &resourcev1.NetworkDeviceData{InterfaceName: "net1", IPs: []string{"10.0.0.1/24"}}
		o.Status.Devices = append(o.Status.Devices, d)
	}
}

func (c *comparison) text() string { return mutator{c.Rand}.text() }
