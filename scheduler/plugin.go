package scheduler

import "fmt"

// Plugin takes part in decisions by implementing one or more of the interfaces below, which are the
// extension points of Kubernetes' scheduling framework. A plugin keeps no state about a pod: what it
// computes once for a pod it returns as a value, which it is given back for each node. One
// plugin value may serve many goroutines at once.
type Plugin interface {
	// Name is unique within a profile and appears in diagnoses.
	Name() string
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

// MaxNodeScore is the best score that a plugin can give.
const MaxNodeScore int64 = 100

// Cycle is one attempt to place one pod.
type Cycle struct {
	Pod      *PodInfo
	Snapshot *Snapshot
}

// Code says how bad a status is.
type Code uint8

// Codes.
const (
	// Unschedulable means that the pod does not fit now, and that removing other pods might help.
	Unschedulable Code = iota + 1
	// UnschedulableAndUnresolvable means that removing other pods would not help.
	UnschedulableAndUnresolvable
	// Error means that the plugin could not decide.
	Error
)

// Status is a plugin's refusal; nil is consent. Statuses are immutable, and plugins that return the same
// one many times save their reader and themselves work.
type Status struct {
	Code Code
	// Reasons are parts of a sentence such as "Insufficient cpu" or "node(s) were unschedulable".
	// The same reason given by several nodes is counted.
	Reasons []string
}

// NewStatus returns a status with the given reasons.
func NewStatus(code Code, reasons ...string) *Status { return &Status{Code: code, Reasons: reasons} }

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
