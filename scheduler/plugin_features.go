package scheduler

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-helpers/nodedeclaredfeatures"
)

// NodeDeclaredFeatures admits nodes whose kubelet declares the features that the pod's spec makes use of, such
// as user namespaces together with the host's network.
// https://kubernetes.io/docs/concepts/scheduling-eviction/node-declared-features/
type NodeDeclaredFeatures struct{}

var (
	refuseFeatures = NewStatus(UnschedulableAndUnresolvable, "node(s) didn't match Pod's required features")
	// declaredFor is the version whose rules hold for what a pod needs: that of the libraries used here.
	declaredFor = version.MustParse("1.37.2")
)

// Name implements Plugin.
func (NodeDeclaredFeatures) Name() string { return NameNodeDeclaredFeatures }

func requiredFeatures(p *PodInfo) (nodedeclaredfeatures.FeatureSet, error) {
	return nodedeclaredfeatures.DefaultFramework.InferForPodScheduling(&nodedeclaredfeatures.PodInfo{Spec: &p.Pod.Spec}, declaredFor)
}

// PreFilter implements PreFilterPlugin.
func (NodeDeclaredFeatures) PreFilter(c *Cycle) (PreFilterResult, *Status) {
	required, err := requiredFeatures(c.Pod)
	if err != nil {
		return PreFilterResult{}, NewStatus(Error, err.Error())
	}
	if required.IsEmpty() {
		return PreFilterResult{Skip: true}, nil
	}
	return PreFilterResult{State: required}, nil
}

// Filter implements FilterPlugin.
func (NodeDeclaredFeatures) Filter(_ *Cycle, state any, n *NodeInfo) *Status {
	return declares(n.Node.Status.DeclaredFeatures, state.(nodedeclaredfeatures.FeatureSet))
}

func declares(features []string, required nodedeclaredfeatures.FeatureSet) *Status {
	ok, err := required.IsSubset(nodedeclaredfeatures.DefaultFramework.TryMap(features))
	switch {
	case err != nil:
		return NewStatus(Error, err.Error())
	case !ok:
		return refuseFeatures
	}
	return nil
}

// EventsToRegister implements EnqueueExtensions.
func (NodeDeclaredFeatures) EventsToRegister() []EventKind {
	return []EventKind{NodeAdded, NodeUpdated}
}

// Helps implements EventHinter.
func (NodeDeclaredFeatures) Helps(pod *PodInfo, e *Event) bool {
	if e.Kind != NodeAdded && e.Kind != NodeUpdated {
		return false
	}
	if e.Kind == NodeUpdated && slices.Equal(e.OldNode.Status.DeclaredFeatures, e.Node.Status.DeclaredFeatures) {
		return false
	}
	required, err := requiredFeatures(pod)
	return err != nil || declares(e.Node.Status.DeclaredFeatures, required) == nil
}
