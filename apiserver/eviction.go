package apiserver

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// eviction is the subresource of pods by which kubectl drain and others ask for a pod to go. Where the
// table has disruption budgets, they are asked.
func eviction() Subresource {
	return Subresource{
		Kind:   policyv1.SchemeGroupVersion.WithKind("Eviction"),
		New:    func() runtime.Object { return &policyv1.Eviction{} },
		Create: evict,
	}
}

func evict(ctx context.Context, s SubresourceRequest) (runtime.Object, error) {
	e, ok := s.Body.(*policyv1.Eviction)
	if !ok {
		return nil, badRequest("not a Eviction object: %T", s.Body)
	}
	if e.Name != s.Ref.Name {
		return nil, badRequest("name in URL does not match name in Eviction object")
	}
	var opts metav1.DeleteOptions
	if e.DeleteOptions != nil {
		opts = *e.DeleteOptions.DeepCopy()
	}
	if unsafe := opts.IgnoreStoreReadErrorWithClusterBreakingPotential; unsafe != nil && *unsafe {
		path := field.NewPath("deleteOptions").Child("ignoreStoreReadErrorWithClusterBreakingPotential")
		return nil, apierrors.NewInvalid(policyv1.SchemeGroupVersion.WithKind("Eviction").GroupKind(), s.Ref.Name, field.ErrorList{
			field.Invalid(path, true, "can not be set for pod eviction, try after removing the option")})
	}
	if s.DryRun && len(opts.DryRun) == 0 {
		opts.DryRun = dryRunValues(true)
	}
	rq := s.request.withVerb(verbDelete)
	rq.onDelete = s.server.disrupt
	if len(opts.DryRun) > 0 {
		rq.onDelete = func(ctx context.Context, obj client.Object) (settled, error) {
			_, err := s.server.disrupt(ctx, obj.DeepCopyObject().(client.Object))
			return settled{}, err
		}
	}
	if _, err := s.server.delete(ctx, rq, &opts); err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess, Code: 201}, nil
}

var (
	budgetsResource = policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")
	// budgetKind is how messages name budgets.
	budgetKind = schema.GroupResource{Group: policyv1.GroupName, Resource: "poddisruptionbudget"}
)

// maxDisruptedPods is how many evictions may wait for the controller's notice.
const maxDisruptedPods = 2000

// disrupt asks a pod's disruption budget whether the pod may go, and charges it: the budget's new state is
// written in the transaction that deletes the pod. The pod comes to say why it ended.
func (s *Server) disrupt(ctx context.Context, obj client.Object) (settled, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return settled{}, nil
	}
	var also settled
	if !unprotected(pod) {
		var err error
		if also, err = s.chargeBudget(ctx, pod); err != nil {
			return settled{}, err
		}
	}
	setDisruptionTarget(pod, s.timestamp())
	return also, nil
}

// unprotected tells that a pod does nothing for its application that an eviction could disrupt.
func unprotected(pod *corev1.Pod) bool {
	phase := pod.Status.Phase
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed || phase == corev1.PodPending || pod.DeletionTimestamp != nil
}

func setDisruptionTarget(pod *corev1.Pod, now metav1.Time) {
	want := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: now,
		Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
	}
	for i := range pod.Status.Conditions {
		if have := &pod.Status.Conditions[i]; have.Type == want.Type {
			if have.Status == want.Status {
				want.LastTransitionTime = have.LastTransitionTime
			}
			*have = want
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, want)
}

// chargeBudget finds the budget of a pod, and takes from it what the pod's end costs.
func (s *Server) chargeBudget(ctx context.Context, pod *corev1.Pod) (settled, error) {
	res := s.base.byResource[budgetsResource]
	if res == nil {
		return settled{}, nil
	}
	e, pdb, err := s.budgetOf(ctx, res, pod)
	if err != nil || pdb == nil {
		return settled{}, err
	}
	if !podReady(pod) {
		policy := pdb.Spec.UnhealthyPodEvictionPolicy
		healthy := pdb.Status.DesiredHealthy > 0 && pdb.Status.CurrentHealthy >= pdb.Status.DesiredHealthy
		if policy != nil && *policy == policyv1.AlwaysAllow || healthy {
			// A pod that serves nobody costs nothing.
			return settled{}, nil
		}
	}
	if err := allowsDisruption(pdb); err != nil {
		return settled{}, err
	}
	charged := pdb.DeepCopy()
	charged.Status.DisruptionsAllowed--
	now := s.timestamp()
	if charged.Status.DisruptionsAllowed == 0 {
		meta.SetStatusCondition(&charged.Status.Conditions, metav1.Condition{
			Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, LastTransitionTime: now,
			Reason: policyv1.InsufficientPodsReason, ObservedGeneration: pdb.Status.ObservedGeneration,
		})
	}
	if charged.Status.DisruptedPods == nil {
		charged.Status.DisruptedPods = map[string]metav1.Time{}
	}
	charged.Status.DisruptedPods[pod.Name] = now
	value, err := res.encode(charged)
	if err != nil {
		return settled{}, internalError(err)
	}
	return settled{guards: []guard{{e.Key, e.ModRevision}}, writes: []store.Op{store.OpPut(e.Key, value)}}, nil
}

// budgetOf returns the one budget that selects a pod.
func (s *Server) budgetOf(ctx context.Context, res *resource, pod *corev1.Pod) (*store.Entry, *policyv1.PodDisruptionBudget, error) {
	prefix := res.scope(pod.Namespace)
	all, err := s.store.Range(ctx, store.Range{Key: prefix, End: store.PrefixEnd(prefix), SkipCount: true})
	if err != nil {
		return nil, nil, storeError(err, 0)
	}
	var entry *store.Entry
	var found *policyv1.PodDisruptionBudget
	for _, e := range all.Entries {
		obj, err := res.object(e)
		if err != nil {
			return nil, nil, err
		}
		pdb, ok := obj.(*policyv1.PodDisruptionBudget)
		if !ok {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector)
		if err != nil || !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if found != nil {
			return nil, nil, &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500,
				Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}}
		}
		entry, found = e, pdb
	}
	return entry, found, nil
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// allowsDisruption refuses an eviction that a budget has nothing left for, in kube-apiserver's words.
func allowsDisruption(pdb *policyv1.PodDisruptionBudget) error {
	status := &pdb.Status
	switch {
	case status.ObservedGeneration < pdb.Generation:
		return tooManyDisruptions(10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", pdb.Name))
	case status.DisruptionsAllowed < 0:
		return budgetForbids(pdb, "pdb disruptions allowed is negative", "pdb disruptions allowed is negative")
	case len(status.DisruptedPods) > maxDisruptedPods:
		return budgetForbids(pdb, "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
			"too many pending evictions not confirmed by PDB controller")
	case status.DisruptionsAllowed > 0:
		return nil
	}
	c := meta.FindStatusCondition(status.Conditions, policyv1.DisruptionAllowedCondition)
	told := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	switch {
	case told && c.Reason == policyv1.SyncFailedReason:
		return tooManyDisruptions(0, fmt.Sprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %s", pdb.Name, c.Message))
	case status.CurrentHealthy <= status.DesiredHealthy:
		return tooManyDisruptions(0, fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", pdb.Name, status.DesiredHealthy, status.CurrentHealthy))
	case told:
		return tooManyDisruptions(0, fmt.Sprintf("The disruption budget %s does not allow evicting pods currently (%s): %s", pdb.Name, c.Reason, c.Message))
	}
	return tooManyDisruptions(0, fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", pdb.Name))
}

func tooManyDisruptions(retryAfter int, why string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: policyv1.DisruptionBudgetCause, Message: why})
	return err
}

func budgetForbids(pdb *policyv1.PodDisruptionBudget, reason, why string) error {
	err := apierrors.NewForbidden(budgetKind, pdb.Name, errors.New(reason))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    policyv1.DisruptionBudgetCause,
		Message: fmt.Sprintf("The disruption budget %s does not allow evicting pods currently: %s", pdb.Name, why),
	})
	return err
}
