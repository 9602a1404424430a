package scheduler

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/inboard/inboard/apiserver/client"
)

// Plugin takes part in decisions by implementing one or more of the interfaces below, which are the
// extension points of Kubernetes' scheduling framework. A plugin keeps no state about a pod: what it
// computes once for a pod it returns as a value, which it is given back for each node. One
// plugin value may serve many goroutines at once.
type Plugin interface {
	// Name is unique within a profile and appears in diagnoses.
	Name() string
}

// PreEnqueuePlugin keeps pods out of the queue until they may be tried.
type PreEnqueuePlugin interface {
	Plugin
	// PreEnqueue returns nil when the pod may be tried. It is asked when the pod appears or changes and,
	// once it has refused, again after each event that Helps.
	PreEnqueue(s *Snapshot, pod *PodInfo) *Status
}

// QueueSortPlugin orders the pods that wait. All profiles of a scheduler need the same one; without
// one it is PrioritySort.
type QueueSortPlugin interface {
	Plugin
	// Less tells whether a is tried before b. It must be an order and depend on nothing else.
	Less(a, b *QueuedPod) bool
}

// QueuedPod is a pod that waits for its turn.
type QueuedPod struct {
	Pod *PodInfo
	// Since is when the pod was last queued: its creation or, once tried, the last try. It is zero for
	// a pod that room has been made for.
	Since time.Time
	// Attempts is the number of tries that failed in a row.
	Attempts int
}

// PreFilterPlugin looks at the pod and the whole cluster once, before nodes are filtered.
type PreFilterPlugin interface {
	Plugin
	// PreFilter returns what Filter will need. A status that is not nil says that the pod fits on
	// no node at all, and its reasons are the whole explanation.
	PreFilter(c *Cycle) (PreFilterResult, *Status)
}

// PreFilterResult is what a PreFilterPlugin found out.
type PreFilterResult struct {
	// State is handed to the plugin's Filter.
	State any
	// Nodes, when not nil, names the only nodes that can be right.
	Nodes []string
	// Skip tells that the plugin's Filter would accept every node, so that it need not be called.
	Skip bool
}

// FilterPlugin accepts or rejects nodes.
type FilterPlugin interface {
	Plugin
	// Filter returns nil when the pod may run on the node. State is what PreFilter returned.
	Filter(c *Cycle, state any, node *NodeInfo) *Status
}

// PostFilterPlugin is asked when no node passes the filters.
type PostFilterPlugin interface {
	Plugin
	// PostFilter returns what would make room for the pod. A status that is not nil says that the
	// plugin can't help, and its reasons follow those of the filters. The first plugin that can
	// help decides.
	PostFilter(c *Cycle, fit *FitError) (PostFilterResult, *Status)
}

// PostFilterResult is a way to make room.
type PostFilterResult struct {
	// Nominate names the node that the pod will fit on once the victims are gone.
	Nominate string
	// Victims are the pods to evict from it. A pod may be elsewhere when it is of a group that ends together.
	Victims []*PodInfo
	// Message is told to people after the reasons of the filters.
	Message string
	// Denominate, with a refusal, gives up the node that was nominated for the pod earlier.
	Denominate bool
}

// PodGroupPostFilterPlugin is asked when a pod group with a gang policy does not fit.
type PodGroupPostFilterPlugin interface {
	Plugin
	// PodGroupPostFilter returns what would make room for the group. A status that is not nil says that the
	// plugin can't help; its reasons follow the group's own. The first plugin that can help decides.
	PodGroupPostFilter(c *GroupCycle) (PodGroupPostFilterResult, *Status)
}

// PodGroupPostFilterResult is a way to make room for a pod group.
type PodGroupPostFilterResult struct {
	// Nominate tells which pods of the group will fit where once the victims are gone.
	Nominate []Nomination
	// Victims are the pods to evict.
	Victims []Victim
	// Ongoing tells that room is being made already: what was nominated earlier stays.
	Ongoing bool
	// Message is told to people after the group's reasons.
	Message string
}

// Nomination is a pod and the node that it will fit on.
type Nomination struct {
	Pod  *PodInfo
	Node string
}

// PreScorePlugin looks once at the nodes that passed the filters, before they are scored.
type PreScorePlugin interface {
	Plugin
	// PreScore returns what Score will need; skip tells that the plugin has no preference.
	PreScore(c *Cycle, nodes []*NodeInfo) (state any, skip bool, err error)
}

// ScorePlugin ranks the nodes that passed the filters.
type ScorePlugin interface {
	Plugin
	// Score returns a score from 0 to MaxNodeScore, or any number when the plugin is also a
	// ScoreNormalizer. State is what PreScore returned.
	Score(c *Cycle, state any, node *NodeInfo) (int64, error)
}

// ScoreNormalizer brings a plugin's scores of all nodes into the range from 0 to MaxNodeScore.
type ScoreNormalizer interface {
	Plugin
	// NormalizeScores changes scores in place; scores[i] belongs to nodes[i].
	NormalizeScores(c *Cycle, state any, nodes []*NodeInfo, scores []int64) error
}

// ReservePlugin sets things aside for a pod that has been given a node, before it is bound.
type ReservePlugin interface {
	Plugin
	// Reserve is asked after a node was chosen; state is what PreFilter returned. A status that is not
	// nil gives the node up, and what was reserved before is taken back.
	Reserve(c *Cycle, state any, node *NodeInfo) (Reservation, *Status)
	// Unreserve takes back what is not in the snapshot; most plugins have nothing to do here. It
	// runs when anything that follows Reserve failed.
	Unreserve(pod *PodInfo, node string, state any)
}

// Reservation is what a ReservePlugin has set aside.
type Reservation struct {
	// State is handed to the plugin at the extension points that follow, in place of PreFilter's.
	State any
	// Assumed objects, of kinds that Watches names, stand in the snapshot in place of those that the
	// API server has, until it tells of a newer one or the reservation is taken back.
	Assumed []client.Object
}

// PermitPlugin has the last word before a pod is bound.
type PermitPlugin interface {
	Plugin
	// Permit returns nil to allow, a refusal, or a status of code Wait: the pod keeps its place on the
	// node until Handle.Allow or Handle.Reject is called for it, and is rejected after the timeout.
	Permit(c *Cycle, state any, node *NodeInfo) (*Status, time.Duration)
}

// Binding is a pod on its way to a node. Its plugins run outside of the loop, each pod's one after
// the other, and may block.
type Binding struct {
	Pod  *PodInfo
	Node string
	// State is what the plugin's own Reserve returned or, for a plugin without one, its PreFilter.
	State any
	// Handle reaches the scheduler.
	Handle *Handle
}

// PreBindPlugin does what must be done before a pod is bound, such as provisioning a volume.
type PreBindPlugin interface {
	Plugin
	// PreBindPreFlight returns a status of code Skip when there is nothing to do for this pod. It runs
	// in the loop and must not block.
	PreBindPreFlight(b *Binding) *Status
	// PreBind may block until ctx ends. A status that is not nil gives the node up.
	PreBind(ctx context.Context, b *Binding) *Status
}

// BindPlugin binds pods. The first one that does not skip a pod is the last to be asked.
type BindPlugin interface {
	Plugin
	// Bind returns nil when the pod is bound, and a status of code Skip to leave it to the next
	// plugin. Any other status gives the node up.
	Bind(ctx context.Context, b *Binding) *Status
}

// PostBindPlugin is told of pods that were bound.
type PostBindPlugin interface {
	Plugin
	PostBind(b *Binding)
}

// Watcher is a plugin that looks at more kinds of objects than pods on nodes, nodes and namespaces.
type Watcher interface {
	Plugin
	// Watches returns an empty object of each kind, such as &corev1.PersistentVolume{}. A scheduler
	// keeps all objects of these kinds in its snapshots, where Object and Objects find them, and
	// tells of their changes by events. Kinds that the API server does not know have no objects.
	Watches() []client.Object
}

// MaxNodeScore is the best score that a plugin can give.
const MaxNodeScore int64 = 100

// Cycle is one attempt to place one pod.
type Cycle struct {
	Pod *PodInfo
	// Snapshot is the state to decide on. It may change once the call has returned: a plugin that
	// wants to keep a snapshot takes Handle.Snapshot.
	Snapshot *Snapshot
	// Handle reaches the scheduler; nil when there is none, because a program asked a Profile.
	Handle *Handle
	// Random breaks ties; nil means that the first one wins.
	Random *rand.Rand

	// run is the placement under way, for PostFilter.
	run *run
	// brief tells that nobody looks at the single nodes of the FitError.
	brief bool
	// binding is what VolumeBinding's PreFilter found out, for its PreScore.
	binding *bindingState
}

// PluginError is the failure, not the refusal, of a plugin; a panic is one, too.
type PluginError struct {
	Plugin, Point string
	Err           error
}

func (e *PluginError) Error() string {
	return fmt.Sprintf("running %s plugin %q: %v", e.Point, e.Plugin, e.Err)
}

// Unwrap returns the cause.
func (e *PluginError) Unwrap() error { return e.Err }
