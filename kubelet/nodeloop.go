package kubelet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/inboard/inboard/apiserver/client"
)

// Periods of the node's reports, the kubelet's defaults.
const (
	leaseSeconds     = 40
	leaseNamespace   = corev1.NamespaceNodeLease
	heartbeatPeriod  = 10 * time.Second // the lease, and a look at the status
	statusReportTime = 5 * time.Minute  // of a status that did not change
	registerRetry    = 500 * time.Millisecond
	nodeReadTime     = 5 * time.Second // for the node as it is, before a pod is refused
	maxNodeImages    = 50
)

// nodeAgent registers the node and keeps its status and its lease fresh.
type nodeAgent struct {
	k      *Kubelet
	nodes  client.Typed[*corev1.Node]
	leases client.Typed[*coordinationv1.Lease]
	mu     sync.Mutex
	node   *corev1.Node
	lease  *coordinationv1.Lease
	sent   time.Time
}

// nodeNow returns the node as it was reported last, for the admission of pods.
func (a *nodeAgent) nodeNow() *corev1.Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node
}

func (a *nodeAgent) setNode(n *corev1.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node = n
}

func (a *nodeAgent) input(ctx context.Context) nodeInput {
	k := a.k
	in := nodeInput{Name: k.cfg.NodeName, IPs: k.cfg.NodeIPs, Port: k.port,
		Capacity: k.capacity, Allocatable: k.allocatable, Machine: readMachine(k.cfg.Dir), Runtime: k.cfg.Runtime.Info()}
	images, err := k.cfg.Runtime.Images(ctx)
	if err != nil {
		k.log.Warn("can't list the images", "err", err)
	}
	slices.SortFunc(images, func(a, b Image) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.ID, b.ID)) })
	for _, img := range images[:min(len(images), maxNodeImages)] {
		in.Images = append(in.Images, corev1.ContainerImage{Names: append(slices.Clone(img.Digests), img.Names...), SizeBytes: img.Size})
	}
	return in
}

// register makes the node, or takes an existing one over; it tries until ctx ends.
func (a *nodeAgent) register(ctx context.Context) error {
	for {
		err := a.registerOnce(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		a.k.log.Warn("can't register the node; trying again", "node", a.k.cfg.NodeName, "err", err)
		select {
		case <-time.After(registerRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *nodeAgent) registerOnce(ctx context.Context) error {
	k, in := a.k, a.input(ctx)
	now := time.Now()
	fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: in.Name, Labels: nodeLabels(in.Name, in.Machine, k.cfg.Labels)}}
	fresh.Spec.Taints = k.cfg.Taints
	fresh.Status = nodeStatus(&fresh.Status, in, now)
	node, err := a.nodes.Create(ctx, fresh)
	if apierrors.IsAlreadyExists(err) {
		if node, err = a.nodes.Get(ctx, "", in.Name); err == nil {
			node, err = a.relabel(ctx, node, fresh.Labels)
		}
	}
	if err != nil {
		return err
	}
	a.setNode(node)
	if err := a.report(ctx, in, now, true); err != nil {
		return err
	}
	k.event(a.ref(), corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	for _, reason := range []string{"NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"} {
		k.event(a.ref(), corev1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", in.Name, reason))
	}
	return a.renew(ctx, now)
}

// ref is the node as events name it: kubelets give the node's name for its UID.
func (a *nodeAgent) ref() *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.node.Name, UID: types.UID(a.node.Name)}}
}

func (a *nodeAgent) relabel(ctx context.Context, node *corev1.Node, labels map[string]string) (*corev1.Node, error) {
	want := map[string]string{}
	for k, v := range labels {
		if node.Labels[k] != v {
			want[k] = v
		}
	}
	if len(want) == 0 {
		return node, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": want}})
	if err != nil {
		return nil, err
	}
	return a.nodes.Patch(ctx, "", node.Name, types.StrategicMergePatchType, patch, "")
}

// report writes the status when it changed, or when the last report is old.
func (a *nodeAgent) report(ctx context.Context, in nodeInput, now time.Time, force bool) error {
	want := nodeStatus(&a.node.Status, in, now)
	same := equality.Semantic.DeepEqual(timeless(want), timeless(a.node.Status))
	if same && !force && now.Sub(a.sent) < statusReportTime {
		return nil
	}
	was, err := json.Marshal(corev1.Node{Status: a.node.Status})
	if err != nil {
		return err
	}
	is, err := json.Marshal(corev1.Node{Status: want})
	if err != nil {
		return err
	}
	diff, err := strategicpatch.CreateTwoWayMergePatch(was, is, corev1.Node{})
	if err != nil {
		return err
	}
	if string(diff) != "{}" {
		node, err := a.nodes.Patch(ctx, "", in.Name, types.StrategicMergePatchType, diff, "status")
		if err != nil {
			return err
		}
		a.setNode(node)
	}
	a.sent = now
	return nil
}

// timeless returns the status without its heartbeats.
func timeless(st corev1.NodeStatus) corev1.NodeStatus {
	st.Conditions = slices.Clone(st.Conditions)
	for i := range st.Conditions {
		st.Conditions[i].LastHeartbeatTime = metav1.Time{}
	}
	return st
}

// renew renews the lease, or makes it.
func (a *nodeAgent) renew(ctx context.Context, now time.Time) error {
	renewed := metav1.NewMicroTime(now)
	if a.lease == nil {
		seconds, name := int32(leaseSeconds), a.k.cfg.NodeName
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: a.node.UID}}},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &renewed}}
		got, err := a.leases.Create(ctx, lease)
		if !apierrors.IsAlreadyExists(err) {
			a.lease = got
			return err
		}
		if a.lease, err = a.leases.Get(ctx, leaseNamespace, name); err != nil {
			a.lease = nil
			return err
		}
	}
	lease := a.lease.DeepCopy()
	lease.Spec.RenewTime = &renewed
	got, err := a.leases.Update(ctx, lease)
	if err != nil {
		a.lease = nil // read it again next time
		return err
	}
	a.lease = got
	return nil
}

// run reports until ctx ends.
func (a *nodeAgent) run(ctx context.Context) {
	tick := time.NewTicker(heartbeatPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			a.beat(ctx, now)
		}
	}
}

func (a *nodeAgent) beat(ctx context.Context, now time.Time) {
	if err := a.renew(ctx, now); err != nil && ctx.Err() == nil {
		a.k.log.Warn("can't renew the node's lease", "node", a.k.cfg.NodeName, "err", err)
	}
	// Others change the node too: a controller that missed us says Unknown, and taints.
	node, err := a.nodes.Get(ctx, "", a.k.cfg.NodeName)
	if err == nil {
		a.setNode(node)
		err = a.report(ctx, a.input(ctx), now, false)
	}
	if apierrors.IsNotFound(err) {
		err = a.registerOnce(ctx)
	}
	if err != nil && ctx.Err() == nil {
		a.k.log.Warn("can't report the node's status", "node", a.k.cfg.NodeName, "err", err)
	}
}
