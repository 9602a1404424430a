package apiserver

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

// Kind is one row of the table of kinds that a server serves: all that sets one kind apart from
// another. Package apiserver/kinds has the rows of the built-in kinds; a program may add its own.
// The functions are pure: they get no store and no clock, and touch nothing but their arguments.
type Kind struct {
	schema.GroupVersionKind
	// Resource is the plural used in paths, Singular its singular.
	Resource, Singular     string
	ShortNames, Categories []string
	Namespaced             bool

	// Object and List are empty samples, such as &corev1.Pod{} and &corev1.PodList{}.
	Object client.Object
	List   runtime.Object
	// Versions are further versions that the kind is served in. The row's own version is the one that
	// objects are stored in, and that all of the row's functions work on.
	Versions []Version

	// Verbs are the verbs served; nil is all of them.
	Verbs []string
	// Status tells that the kind has a status subresource: writes to the object then leave
	// status alone, writes to /status leave all but status alone.
	Status bool
	// PlainStatus tells that the status subresource is never shown as a Table.
	PlainStatus bool
	// Generation tells that metadata.generation counts the changes of the spec.
	Generation bool
	// KeepStatus tells that a new object keeps the status it was sent with, as a Node does.
	// Without it the status of a new object is cleared before Prepare runs.
	KeepStatus bool
	// UpdateCreates lets an update of an object that does not exist create it.
	UpdateCreates bool
	// ConditionalUpdate refuses updates that name no resourceVersion.
	ConditionalUpdate bool
	// ReturnDeleted makes an immediate deletion answer with the object instead of a Status.
	ReturnDeleted bool
	// Scale, when not nil, gives the kind a scale subresource.
	Scale *Scale
	// GracePeriod returns the seconds that a graceful deletion of obj may take, when the client
	// named none; nil and 0 mean that deletion is immediate.
	GracePeriod func(obj client.Object) int64
	// Orphan makes Orphan the propagation policy of deletions that name none.
	Orphan bool
	// OrphanWarning is told to clients that delete without a propagation policy.
	OrphanWarning string
	// NoDependents makes deletions pay no heed to propagation policies.
	NoDependents bool
	// Held tells that something besides metadata.finalizers keeps obj from being removed, such
	// as a Namespace's spec.finalizers; nil is never.
	Held func(obj client.Object) bool
	// Deleting changes obj when its deletionTimestamp is set, as a Namespace's phase does.
	Deleting func(obj client.Object)

	// Default fills in the defaults of the API's documentation, in place.
	Default func(obj client.Object)
	// Decoded, when not nil, completes an object that was decoded from its stored protobuf, which has no place
	// for the types of objects within objects.
	Decoded func(obj client.Object)
	// Prepare readies a new object (old nil) or an update for storage: it clears what clients
	// may not set and keeps what they may not change. It runs before Validate. Metadata, status
	// and generation are the server's own work and need none of this.
	Prepare func(obj, old client.Object)
	// Validate returns what is wrong with a new object (old nil) or an update. Metadata has been
	// looked at already.
	Validate func(obj, old client.Object) field.ErrorList
	// PrepareStatus readies a write to /status: it keeps what status writers may leave out but not
	// change. It runs before ValidateStatus.
	PrepareStatus func(obj, old client.Object)
	// ValidateStatus does the same for a write to /status; nil accepts all.
	ValidateStatus func(obj, old client.Object) field.ErrorList
	// StatusResets are fields besides spec that a write to /status leaves alone, such as
	// "metadata.labels"; its writers don't come to manage them.
	StatusResets []string
	// Resets are fields besides status that clients can't set or change by writes to the object, such as
	// "spec"; Prepare sees to that, and writers don't come to manage them.
	Resets []string
	// Sender, when not nil, notes in a new object who asks for it, after Prepare.
	Sender func(obj client.Object, user *Identity)
	// QualifiedFinalizers asks of metadata.finalizers that they name a domain, but for those that Kubernetes has
	// always had.
	QualifiedFinalizers bool
	// NameIsValid returns what is wrong with a name, as field messages; nil asks for a DNS
	// subdomain. Prefix tells that name is a generateName.
	NameIsValid func(name string, prefix bool) []string
	// MetadataLast tells that what is wrong with the metadata of a new object is told when nothing else is wrong.
	MetadataLast bool
	// RepeatMistakes tells what Validate finds as often as it does, and not once; of metadata each is told once anyway.
	RepeatMistakes bool
	// Warnings returns warnings for the client about an accepted object.
	Warnings func(obj, old client.Object) []string
	// StatusWarnings does the same for writes to the status.
	StatusWarnings func(obj, old client.Object) []string

	// Fields returns the fields that field selectors may name besides metadata.name and
	// metadata.namespace; nil has none.
	Fields map[string]func(obj client.Object) string

	// Columns and Row make the Table that kubectl prints; nil shows name and age. Row returns one
	// cell for each column; now is the time that ages are told at.
	Columns []metav1.TableColumnDefinition
	Row     func(obj client.Object, now time.Time) []any

	// Allocate, when not nil, claims what must be unique in the cluster, such as a Service's
	// addresses. It runs after Validate and may fill obj in; old is nil for a new object, and obj
	// is nil when the object goes: then it gives up all that old held. The server stores the
	// claims in the transaction that stores or removes the object. An error that is a
	// *field.Error makes the request Invalid.
	Allocate func(ctx context.Context, a Allocator, obj, old client.Object) error

	// Subresources are handled by functions of their own, by name: "binding", "eviction", ...
	Subresources map[string]Subresource

	// DerivedAnnotations are those that Kubernetes makes of fields: where metadata alone is shown they are left out.
	DerivedAnnotations []string
	// Deprecated is a warning that goes along with every request for the kind, "" for none.
	Deprecated string

	// Custom, when not nil, makes the kind one whose objects have no Go type of their own. Object and List may then
	// be any samples.
	Custom *Custom

	// Review, when not nil, makes the kind one whose objects are questions: they can only be created, which
	// is answered by what Review returns, and nothing is stored of them. Of the other functions Validate alone is
	// used. List may be nil.
	Review func(ctx context.Context, r *ReviewRequest) (runtime.Object, error)
}

// Scale maps the fields of a kind to autoscaling/v1 Scale.
type Scale struct {
	Get func(obj client.Object) (replicas, statusReplicas int32, selector string)
	Set func(obj client.Object, replicas int32)
	// Check, when not nil, returns what keeps an object's Scale from being shown.
	Check func(obj client.Object) error
	// Paths are where the replicas are, by apiVersion; nil is spec.replicas.
	Paths managedfields.ResourcePathMappings
}

// Subresource is a special operation on an object.
type Subresource struct {
	// Kind is the kind of the body and, unless the operation says otherwise, of the answer.
	Kind schema.GroupVersionKind
	// New returns an empty body.
	New func() runtime.Object
	// Create handles a POST. mutate runs change on the stored object in one transaction, with
	// retries; what change returns as error ends the request.
	Create func(ctx context.Context, s SubresourceRequest) (runtime.Object, error)
	// Copy returns what Mutate lets Create change: a copy of the stored object that shares with it
	// only what Create does not change. Nil means a deep copy.
	Copy func(stored client.Object) client.Object
	// Merge, when not nil, serves GET, PUT and PATCH: the body is the object itself, and Merge
	// copies from body to stored what a write to the subresource may change.
	Merge func(stored, body client.Object)
	// Validate, when not nil, returns what is wrong with the result of Merge, in the place of the row's
	// Validate.
	Validate func(obj, old client.Object) field.ErrorList
	// Resets are fields that Merge leaves alone, such as "status": writers of the subresource don't
	// come to manage them.
	Resets []string
	// Only, when not empty, are the fields that writers of the subresource come to manage, in place of
	// Resets; "*" is any element of a list.
	Only []string
}

// SubresourceRequest is what a Subresource works with.
type SubresourceRequest struct {
	Ref  client.Ref
	Body runtime.Object
	// Mutate changes the object that Ref names, atomically.
	Mutate func(ctx context.Context, change func(obj client.Object) error) (client.Object, error)
	// Delete asks for the deletion of the object that Ref names.
	Delete func(ctx context.Context, opts metav1.DeleteOptions) error
	DryRun bool
	// Warn sends the client a warning.
	Warn func(text string)

	server  *Server
	request *request
}

// Allocator hands out what must be unique in the cluster.
type Allocator interface {
	// Family is the address family of the service range.
	Family() corev1.IPFamily
	// IP claims an address of the service range; an empty want asks for any. The text of the
	// error fits after "failed to allocate IP 10.0.0.1: ".
	IP(want string) (string, error)
	// NodePort claims a port of the node port range; want 0 asks for any, and an empty protocol
	// claims the number for all protocols. The text of the error fits an Invalid nodePort.
	NodePort(want int32, protocol string) (int32, error)
	// Release gives up an address or port that the old object held.
	ReleaseIP(ip string)
	ReleaseNodePort(port int32, protocol string)
}

// ResourceRef returns the group, version and resource of the kind.
func (k *Kind) ResourceRef() schema.GroupVersionResource {
	return k.GroupVersion().WithResource(k.Resource)
}
