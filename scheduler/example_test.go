package scheduler_test

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/core"
	"github.com/inboard/inboard/scheduler"
	"github.com/inboard/inboard/store"
)

func exampleNode(name, cpu string) *corev1.Node {
	n := &corev1.Node{}
	n.Name = name
	n.Labels = map[string]string{corev1.LabelHostname: name}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("16Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	return n
}

func examplePod(name, cpu string) *corev1.Pod {
	p := &corev1.Pod{}
	p.Namespace, p.Name = "default", name
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}
	return p
}

// Place a pod on nodes that are in no API server.
func ExampleSchedule() {
	nodes := []*corev1.Node{exampleNode("small", "2"), exampleNode("large", "8")}
	snapshot := scheduler.NewSnapshot(nodes, nil)

	where, err := scheduler.Schedule(snapshot, examplePod("web", "4"), nil)
	fmt.Println(where.Node, err)

	_, err = scheduler.Schedule(snapshot, examplePod("huge", "64"), nil)
	fmt.Println(err)
	// Output:
	// large <nil>
	// 0/2 nodes are available: 2 Insufficient cpu.
}

// Ask what would happen if a node were drained, or one were added. The snapshot itself stays as it is.
func ExampleSnapshot() {
	pods := []*corev1.Pod{examplePod("a", "3"), examplePod("b", "3")}
	pods[0].Spec.NodeName, pods[1].Spec.NodeName = "node-1", "node-2"
	now := scheduler.NewSnapshot([]*corev1.Node{exampleNode("node-1", "4"), exampleNode("node-2", "4")}, pods)

	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		panic(err)
	}
	drained := now.RemoveNode("node-2")
	_, err = profile.Schedule(drained, examplePod("b", "3"), nil)
	fmt.Println("without node-2:", err)

	grown := drained.AddNode(exampleNode("node-3", "4"))
	where, err := profile.Schedule(grown, examplePod("b", "3"), nil)
	fmt.Println("with node-3:", where.Node, err)

	fmt.Println("now:", now.Len(), "nodes")
	// Output:
	// without node-2: 0/1 nodes are available: 1 Insufficient cpu.
	// with node-3: node-3 <nil>
	// now: 2 nodes
}

// "Would this Deployment fit?" Each replica counts for the next.
func ExampleProfile_ScheduleAll() {
	snapshot := scheduler.NewSnapshot([]*corev1.Node{exampleNode("node-1", "4"), exampleNode("node-2", "2")}, nil)
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		panic(err)
	}
	var replicas []*corev1.Pod
	for i := range 4 {
		replicas = append(replicas, examplePod(fmt.Sprintf("web-%d", i), "1500m"))
	}
	outcomes, _ := profile.ScheduleAll(snapshot, replicas, nil)
	for _, o := range outcomes {
		if o.Err != nil {
			fmt.Println(o.Pod.Name, "does not fit:", o.Err)
			continue
		}
		fmt.Println(o.Pod.Name, "on", o.Node)
	}
	// Output:
	// web-0 on node-1
	// web-1 on node-1
	// web-2 on node-2
	// web-3 does not fit: 0/2 nodes are available: 2 Insufficient cpu.
}

// Place many pods from one snapshot and bind them. The API server is in this program, so that all bindings are one
// commit of its store.
func ExampleBindAll() {
	ctx := context.Background()
	st, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer st.Close()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: core.Kinds()})
	if err != nil {
		panic(err)
	}
	api := server.Client(apiserver.Identity{User: "me", Groups: []string{apiserver.GroupMasters}})
	var pods []*corev1.Pod
	for i := range 3 {
		p := examplePod(fmt.Sprintf("web-%d", i), "2")
		p.Spec.Containers[0].Image = "example.com/web"
		if p, err = client.For[*corev1.Pod](api).Create(ctx, p); err != nil {
			panic(err)
		}
		pods = append(pods, p)
	}
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{})
	if err != nil {
		panic(err)
	}
	snapshot := scheduler.NewSnapshot([]*corev1.Node{exampleNode("node-1", "4")}, nil)
	outcomes, _ := profile.ScheduleAll(snapshot, pods, nil)
	for i, err := range scheduler.BindAll(ctx, api, outcomes) {
		fmt.Println(pods[i].Name, outcomes[i].Node, err)
	}
	// Output:
	// web-0 node-1 <nil>
	// web-1 node-1 <nil>
	// web-2  0/1 nodes are available: 1 Insufficient cpu.
}

// license admits pods that ask for it only on nodes that have it.
type license struct{}

func (license) Name() string { return "License" }

func (license) Filter(c *scheduler.Cycle, _ any, node *scheduler.NodeInfo) *scheduler.Status {
	wanted := c.Pod.Pod.Annotations["example.com/license"]
	if wanted == "" || strings.Contains(node.Node.Annotations["example.com/licenses"], wanted) {
		return nil
	}
	return scheduler.NewStatus(scheduler.UnschedulableAndUnresolvable, "node(s) had no "+wanted+" license")
}

// A plugin is a value with a method; it is passed in with the others.
func ExamplePlugin() {
	profile, err := scheduler.NewProfile(scheduler.ProfileConfig{
		Plugins: append(scheduler.DefaultPlugins(), scheduler.WeightedPlugin{Plugin: license{}}),
	})
	if err != nil {
		panic(err)
	}
	licensed := exampleNode("licensed", "4")
	licensed.Annotations = map[string]string{"example.com/licenses": "matlab,ansys"}
	pod := examplePod("job", "1")
	pod.Annotations = map[string]string{"example.com/license": "ansys"}

	plain := scheduler.NewSnapshot([]*corev1.Node{exampleNode("plain", "4")}, nil)
	_, err = profile.Schedule(plain, pod, nil)
	fmt.Println(err)
	where, err := profile.Schedule(plain.AddNode(licensed), pod, nil)
	fmt.Println(where.Node, err)
	// Output:
	// 0/1 nodes are available: 1 node(s) had no ansys license.
	// licensed <nil>
}
