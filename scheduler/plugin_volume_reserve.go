package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/inboard/inboard/apiserver/client"
)

// volumeReservation is what VolumeBinding will write for a pod.
type volumeReservation struct {
	bindings []reservedVolume
	// provisions are claims that name the node for the provisioner.
	provisions []*corev1.PersistentVolumeClaim
}

// reservedVolume is a volume that names its claim.
type reservedVolume struct {
	volume *corev1.PersistentVolume
	claim  *corev1.PersistentVolumeClaim
	// written tells that the API server has it like this already.
	written bool
}

// Reserve implements ReservePlugin: no other pod gets the volumes from now on.
func (VolumeBinding) Reserve(c *Cycle, state any, n *NodeInfo) (Reservation, *Status) {
	st, ok := state.(*bindingState)
	if !ok || len(st.delayed) == 0 {
		return Reservation{}, nil
	}
	d, status := st.decide(c.Snapshot, n.Node)
	if status != nil {
		return Reservation{}, status
	}
	r := &volumeReservation{}
	var out Reservation
	for _, b := range d.bindings {
		if now := c.Snapshot.volume(b.volume.Name); now != b.volume {
			return Reservation{}, outOfSync(b.volume)
		}
		v, written := withClaim(b.volume, b.claim)
		r.bindings = append(r.bindings, reservedVolume{v, b.claim, written})
		out.Assumed = append(out.Assumed, v)
	}
	for _, p := range d.provisions {
		if now := c.Snapshot.claim(p.claim.Namespace, p.claim.Name); now != p.claim {
			return Reservation{}, outOfSync(p.claim)
		}
		claim := p.claim.DeepCopy()
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, annSelectedNode, n.Node.Name)
		r.provisions = append(r.provisions, claim)
		out.Assumed = append(out.Assumed, claim)
	}
	out.State = r
	return out, nil
}

// outOfSync is for an object that is no longer what the decision was made on.
func outOfSync(obj client.Object) *Status {
	return AsStatus(fmt.Errorf("%q is out of sync", obj.GetName()))
}

// withClaim returns the volume with a claimRef, and whether it had it before.
func withClaim(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, bool) {
	byPerson := reservedFor(v, c)
	if byPerson && v.Spec.ClaimRef.UID == c.UID {
		return v, true
	}
	v = v.DeepCopy()
	v.Spec.ClaimRef = &corev1.ObjectReference{
		APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
	}
	if !byPerson {
		metav1.SetMetaDataAnnotation(&v.ObjectMeta, annBoundByController, "yes")
	}
	return v, false
}

// Unreserve implements ReservePlugin: what was reserved stood in the snapshot alone.
func (VolumeBinding) Unreserve(*PodInfo, string, any) {}

// PreBindPreFlight implements PreBindPlugin.
func (VolumeBinding) PreBindPreFlight(b *Binding) *Status {
	if _, ok := b.State.(*volumeReservation); !ok {
		return NewStatus(Skip)
	}
	return nil
}

// PreBind implements PreBindPlugin: it writes the reservations, and waits until the claims are bound. What was
// written stays when that fails: it is the start of the next try.
func (p VolumeBinding) PreBind(ctx context.Context, b *Binding) *Status {
	// The cycle's own reservation is left as it is.
	r := b.State.(*volumeReservation).copy()
	if err := r.write(ctx, b.Handle); err != nil {
		return AsStatus(err)
	}
	timeout := p.BindTimeout
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := r.wait(ctx, b); err != nil {
		return AsStatus(fmt.Errorf("binding volumes: %w", err))
	}
	return nil
}

func (r *volumeReservation) copy() *volumeReservation {
	return &volumeReservation{slices.Clone(r.bindings), slices.Clone(r.provisions)}
}

func (r *volumeReservation) write(ctx context.Context, h *Handle) (err error) {
	for i := range r.bindings {
		if b := &r.bindings[i]; !b.written {
			if b.volume, err = update(ctx, h, b.volume); err != nil {
				return err
			}
		}
	}
	for i := range r.provisions {
		if r.provisions[i], err = update(ctx, h, r.provisions[i]); err != nil {
			return err
		}
	}
	return nil
}

func update[T client.Object](ctx context.Context, h *Handle, obj T) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, h.RequestTimeout())
	defer cancel()
	return client.For[T](h.Client()).Update(ctx, obj)
}

// bindingPoll is how often the state is looked at, which costs no request.
const bindingPoll = 100 * time.Millisecond

func (r *volumeReservation) wait(ctx context.Context, b *Binding) error {
	tick := time.NewTicker(bindingPoll)
	defer tick.Stop()
	for {
		if done, err := r.bound(b.Handle.Snapshot(), b.Pod, b.Node); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// bound tells whether all claims are bound. The error says that they won't be, or not to what the node can
// reach.
func (r *volumeReservation) bound(s *Snapshot, pod *PodInfo, node string) (bool, error) {
	n := s.Node(node)
	if n == nil {
		return false, fmt.Errorf("failed to get node %q: node %q not found", node, node)
	}
	if !slices.ContainsFunc(n.Pods, func(p *PodInfo) bool { return p.Key == pod.Key }) {
		return false, fmt.Errorf("pod does not exist any more: pod %q not found", pod.Pod.Name)
	}
	for i := range r.bindings {
		if done, err := r.bindings[i].bound(s, n.Node); !done || err != nil {
			return false, err
		}
	}
	for _, c := range r.provisions {
		if done, err := provisioned(s, c, n.Node); !done || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (b *reservedVolume) bound(s *Snapshot, n *corev1.Node) (bool, error) {
	v, claim := s.volume(b.volume.Name), s.claim(b.claim.Namespace, b.claim.Name)
	switch {
	case v == nil:
		return false, fmt.Errorf("failed to check binding: persistentvolumes %q not found", b.volume.Name)
	case claim == nil:
		return false, fmt.Errorf("failed to check binding: persistentvolumeclaims %q not found", b.claim.Namespace+"/"+b.claim.Name)
	case older(v, b.volume):
		return false, nil
	}
	if err := reachable(s, v, n); err != nil {
		return false, err
	}
	if v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID == "" {
		return false, fmt.Errorf("ClaimRef got reset for pv %q", v.Name)
	}
	return fullyBound(claim), nil
}

// provisioned tells whether a provisioner has made a volume for the claim; it gives up by taking away the name
// of the node.
func provisioned(s *Snapshot, written *corev1.PersistentVolumeClaim, n *corev1.Node) (bool, error) {
	c := s.claim(written.Namespace, written.Name)
	switch {
	case c == nil:
		return false, fmt.Errorf("failed to check provisioning pvc: persistentvolumeclaims %q not found", written.Namespace+"/"+written.Name)
	case older(c, written):
		return false, nil
	case c.Annotations == nil:
		return false, fmt.Errorf("selectedNode annotation reset for PVC %q", c.Name)
	case c.Annotations[annSelectedNode] != n.Name:
		return false, fmt.Errorf("provisioning failed for PVC %q", c.Name)
	}
	if c.Spec.VolumeName != "" {
		v := s.volume(c.Spec.VolumeName)
		if v == nil {
			return false, nil // it may come a little later than the claim that names it
		}
		if err := reachable(s, v, n); err != nil {
			return false, err
		}
	}
	return fullyBound(c), nil
}

func reachable(s *Snapshot, v *corev1.PersistentVolume, n *corev1.Node) error {
	t, err := translated(v, s.csiNode(n.Name))
	if err != nil {
		return fmt.Errorf("failed to translate pv to csi: %w", err)
	}
	if !nodeRuleOf(t).admits(n) {
		return fmt.Errorf("pv %q node affinity doesn't match node %q: %w", v.Name, n.Name, errNoTerm)
	}
	return nil
}

var errNoTerm = errors.New("no matching NodeSelectorTerms")

// older tells whether an object is not yet what was written.
func older(now, written client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(now.GetResourceVersion(), written.GetResourceVersion())
	return err == nil && order < 0
}
