package deployment

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/rand"
)

// Annotations by which deployments and their sets tell kubectl, and later steps, of a rollout.
const (
	annotationRevision        = "deployment.kubernetes.io/revision"
	annotationRevisionHistory = "deployment.kubernetes.io/revision-history"
	annotationDesired         = "deployment.kubernetes.io/desired-replicas"
	annotationMax             = "deployment.kubernetes.io/max-replicas"
	annotationLastApplied     = "kubectl.kubernetes.io/last-applied-configuration"
	annotationRollbackTo      = "deprecated.deployment.rollback.to"
)

// notInherited are the annotations of a deployment that its sets don't get.
var notInherited = []string{
	annotationRevision, annotationRevisionHistory, annotationDesired, annotationMax,
	annotationLastApplied, annotationRollbackTo,
}

// replicasOf is a set's spec.replicas, whose default is 1.
func replicasOf(rs *appsv1.ReplicaSet) int32 {
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

// availableOf never counts pods that the set is about to lose: the status trails the spec.
func availableOf(rs *appsv1.ReplicaSet) int32 {
	return min(rs.Status.AvailableReplicas, replicasOf(rs))
}

// behind tells that a set's status says nothing yet about its present size: its controller may be
// creating pods that the set no longer asks for.
func behind(rs *appsv1.ReplicaSet) bool { return rs.Status.ObservedGeneration < rs.Generation }

// presentOf also counts the pods that the set has yet to delete.
func presentOf(rs *appsv1.ReplicaSet) int32 { return max(replicasOf(rs), rs.Status.Replicas) }

func sum(sets []*appsv1.ReplicaSet, f func(*appsv1.ReplicaSet) int32) int32 {
	var n int32
	for _, rs := range sets {
		n += f(rs)
	}
	return n
}

func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range sets {
		if replicasOf(rs) > 0 {
			out = append(out, rs)
		}
	}
	return out
}

// byAge compares sets, the oldest first.
func byAge(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// split tells the set of the deployment's present template from the others, both by age.
func split(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) {
	sets = slices.SortedFunc(slices.Values(sets), byAge)
	for _, rs := range sets {
		if current == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			current = rs
			continue
		}
		old = append(old, rs)
	}
	return current, old
}

// sameTemplate compares templates but for the hash label, which only the set's has.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	return equality.Semantic.DeepEqual(withoutHash(a), withoutHash(b))
}

func withoutHash(t *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	if _, ok := t.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; !ok {
		return t
	}
	c := *t
	c.Labels = maps.Clone(t.Labels)
	delete(c.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return &c
}

// templateHash returns a short name for a template, a label value and a part of names. Collisions
// is status.collisionCount: a new count gives a new name.
func templateHash(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	_ = json.NewEncoder(h).Encode(t) // a hash takes everything, and a template has a JSON form
	if collisions != nil {
		_, _ = h.Write([]byte(strconv.Itoa(int(*collisions))))
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// newSet returns the set of the deployment's present template, without pods.
func newSet(d *appsv1.Deployment, revision int64) *appsv1.ReplicaSet {
	hash := templateHash(&d.Spec.Template, d.Status.CollisionCount)
	template := *d.Spec.Template.DeepCopy()
	template.Labels = maps.Clone(template.Labels)
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	selector := d.Spec.Selector.DeepCopy()
	selector = metav1.AddLabelToSelector(selector, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name:            d.Name + "-" + hash,
			Namespace:       d.Namespace,
			Labels:          maps.Clone(template.Labels),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        new(int32),
			MinReadySeconds: d.Spec.MinReadySeconds,
			Selector:        selector,
			Template:        template,
		},
	}
	annotate(d, rs, revision)
	setDesired(d, rs)
	return rs
}

// annotate gives rs, which is the caller's own, the deployment's annotations and its revision.
func annotate(d *appsv1.Deployment, rs *appsv1.ReplicaSet, revision int64) {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	for name, value := range d.Annotations {
		if !slices.Contains(notInherited, name) {
			rs.Annotations[name] = value
		}
	}
	before := revisionOf(rs)
	if before >= revision {
		return
	}
	rs.Annotations[annotationRevision] = strconv.FormatInt(revision, 10)
	if before > 0 { // the template came back: it has had several revisions
		history := strconv.FormatInt(before, 10)
		if earlier := rs.Annotations[annotationRevisionHistory]; earlier != "" {
			history = strings.Join([]string{earlier, history}, ",")
		}
		rs.Annotations[annotationRevisionHistory] = history
	}
}

// setDesired notes for which size of the deployment rs was scaled, and tells whether that is news.
func setDesired(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	desired := strconv.Itoa(int(desiredOf(d)))
	most := strconv.Itoa(int(desiredOf(d) + maxSurge(d)))
	if rs.Annotations[annotationDesired] == desired && rs.Annotations[annotationMax] == most {
		return false
	}
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	rs.Annotations[annotationDesired], rs.Annotations[annotationMax] = desired, most
	return true
}

func intAnnotation(o metav1.Object, name string) (int64, bool) {
	n, err := strconv.ParseInt(o.GetAnnotations()[name], 10, 64)
	return n, err == nil
}

func revisionOf(rs *appsv1.ReplicaSet) int64 {
	n, _ := intAnnotation(rs, annotationRevision)
	return n
}

// lastRevision returns the highest revision of any of the sets.
func lastRevision(sets []*appsv1.ReplicaSet) int64 {
	var last int64
	for _, rs := range sets {
		last = max(last, revisionOf(rs))
	}
	return last
}

// desiredOf is spec.replicas, whose default is 1.
func desiredOf(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func isRolling(d *appsv1.Deployment) bool {
	return d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType
}

// bounds returns maxSurge and maxUnavailable as numbers of pods. Percentages of surge are rounded
// up, those of unavailability down; when both come to nothing, one pod may be unavailable, or no
// rollout would ever move.
func bounds(d *appsv1.Deployment) (surge, unavailable int32) {
	if !isRolling(d) || desiredOf(d) == 0 {
		return 0, 0
	}
	quarter := intstr.FromString("25%")
	s, u := &quarter, &quarter
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		if r.MaxSurge != nil {
			s = r.MaxSurge
		}
		if r.MaxUnavailable != nil {
			u = r.MaxUnavailable
		}
	}
	surge, unavailable = resolve(s, desiredOf(d), true), resolve(u, desiredOf(d), false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, desiredOf(d))
}

func resolve(v *intstr.IntOrString, total int32, up bool) int32 {
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(total), up)
	if err != nil {
		return 0 // the API accepts no such value
	}
	return int32(max(0, min(n, math.MaxInt32-int(total))))
}

func maxSurge(d *appsv1.Deployment) int32 {
	surge, _ := bounds(d)
	return surge
}

func maxUnavailable(d *appsv1.Deployment) int32 {
	_, unavailable := bounds(d)
	return unavailable
}
