package scheduler

// Names of the built-in plugins; they are Kubernetes' own.
const (
	NameSupportedFeatures  = "SupportedFeatures"
	NameNodeName           = "NodeName"
	NameNodeUnschedulable  = "NodeUnschedulable"
	NameTaintToleration    = "TaintToleration"
	NameNodeAffinity       = "NodeAffinity"
	NameNodePorts          = "NodePorts"
	NameNodeResourcesFit   = "NodeResourcesFit"
	NameBalancedAllocation = "NodeResourcesBalancedAllocation"
	NameImageLocality      = "ImageLocality"
	NamePodTopologySpread  = "PodTopologySpread"
	NameInterPodAffinity   = "InterPodAffinity"

	NameNodeDeclaredFeatures = "NodeDeclaredFeatures"
	NameVolumeRestrictions   = "VolumeRestrictions"
	NameNodeVolumeLimits     = "NodeVolumeLimits"
	NameVolumeBinding        = "VolumeBinding"
	NameVolumeZone           = "VolumeZone"
	NameSchedulingGates      = "SchedulingGates"
	NamePrioritySort         = "PrioritySort"
	NameDefaultBinder        = "DefaultBinder"
	NameDefaultPreemption    = "DefaultPreemption"
	NameGangScheduling       = "GangScheduling"
)

// DefaultPlugins returns new values of all built-in plugins in Kubernetes' order and with its default
// weights. SupportedFeatures, which has no counterpart there, refuses pods that ask for what no
// built-in plugin looks at, such as dynamic resources: leave it out when a plugin of your own does.
func DefaultPlugins() []WeightedPlugin {
	return []WeightedPlugin{
		{Plugin: SchedulingGates{}},
		{Plugin: GangScheduling{}},
		{Plugin: PrioritySort{}},
		{Plugin: SupportedFeatures{}},
		{Plugin: NodeName{}},
		{Plugin: NodeUnschedulable{}},
		{Plugin: TaintToleration{}, Weight: 3},
		{Plugin: NodeAffinity{}, Weight: 2},
		{Plugin: NodePorts{}},
		{Plugin: NodeResourcesFit{}, Weight: 1},
		{Plugin: VolumeRestrictions{}},
		{Plugin: NodeVolumeLimits{}},
		{Plugin: VolumeBinding{}},
		{Plugin: VolumeZone{}},
		{Plugin: PodTopologySpread{}, Weight: 2},
		{Plugin: InterPodAffinity{}, Weight: 2},
		{Plugin: BalancedAllocation{}, Weight: 1},
		{Plugin: ImageLocality{}, Weight: 1},
		{Plugin: NodeDeclaredFeatures{}},
		{Plugin: DefaultPreemption{}},
		{Plugin: DefaultBinder{}},
	}
}

// scaleScores brings scores into the range from 0 to MaxNodeScore, the largest becoming MaxNodeScore;
// with reverse it becomes 0. When all are 0 they stay so, or all become MaxNodeScore.
func scaleScores(scores []int64, reverse bool) {
	var most int64
	for _, v := range scores {
		most = max(most, v)
	}
	for i, v := range scores {
		if most > 0 {
			v = MaxNodeScore * v / most
		}
		if reverse {
			v = MaxNodeScore - v
		}
		scores[i] = v
	}
}
