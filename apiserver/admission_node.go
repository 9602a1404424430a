package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/inboard/inboard/apiserver/client"
)

// taintNewNodes keeps pods off new nodes until a controller has seen them ready.
func taintNewNodes(_ context.Context, r *AdmissionRequest) error {
	node, ok := r.Object.(*corev1.Node)
	if !ok || r.Operation != Create || r.Ref.Subresource != "" {
		return nil
	}
	taint := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	if !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.MatchTaint(&taint) }) {
		node.Spec.Taints = append(node.Spec.Taints, taint)
	}
	return nil
}

var runtimeClassesResource = nodev1.SchemeGroupVersion.WithResource("runtimeclasses")

// classOf returns the runtime class that a new pod names, nil for none and for what is no new pod.
func classOf(r *AdmissionRequest) (*corev1.Pod, *nodev1.RuntimeClass, error) {
	pod, ok := r.Object.(*corev1.Pod)
	if !ok || r.Operation != Create || r.Ref.Subresource != "" {
		return nil, nil, nil
	}
	if pod.Spec.RuntimeClassName == nil {
		return pod, nil, nil
	}
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: runtimeClassesResource, Name: *pod.Spec.RuntimeClassName})
	if err != nil {
		return nil, nil, err
	}
	class, ok := obj.(*nodev1.RuntimeClass)
	if !ok {
		return nil, nil, fmt.Errorf("pod rejected: RuntimeClass %q not found", *pod.Spec.RuntimeClassName)
	}
	return pod, class, nil
}

var errOverheadDiffers = errors.New("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

// runtimeClass gives a new pod the overhead, node selector and tolerations of its runtime class.
func runtimeClass(_ context.Context, r *AdmissionRequest) error {
	pod, class, err := classOf(r)
	if err != nil || class == nil {
		return err
	}
	if class.Overhead != nil {
		if len(pod.Spec.Overhead) > 0 && !apiequality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead) {
			return errOverheadDiffers
		}
		pod.Spec.Overhead = class.Overhead.PodFixed.DeepCopy()
	}
	if class.Scheduling == nil {
		return nil
	}
	for key, value := range class.Scheduling.NodeSelector {
		if have, ok := pod.Spec.NodeSelector[key]; ok && have != value {
			return fmt.Errorf("conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, have)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[key] = value
	}
	pod.Spec.Tolerations = mergeTolerations(slices.Concat(pod.Spec.Tolerations, class.Scheduling.DeepCopy().Tolerations))
	return nil
}

// runtimeClassOverhead refuses pods with another overhead than that of their runtime class.
func runtimeClassOverhead(_ context.Context, r *AdmissionRequest) error {
	pod, class, err := classOf(r)
	switch {
	case err != nil || pod == nil:
		return err
	case class != nil && class.Overhead != nil:
		if !apiequality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead) {
			return errOverheadDiffers
		}
	case pod.Spec.Overhead != nil:
		return errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
	}
	return nil
}

// mergeTolerations leaves out tolerations that another one covers; of equal ones it keeps the first.
func mergeTolerations(all []corev1.Toleration) []corev1.Toleration {
	var merged []corev1.Toleration
	for i, t := range all {
		covered := slices.ContainsFunc(merged, func(m corev1.Toleration) bool { return coversToleration(m, t) }) ||
			slices.ContainsFunc(all[i+1:], func(m corev1.Toleration) bool {
				return !apiequality.Semantic.DeepEqual(t, m) && coversToleration(m, t)
			})
		if !covered {
			merged = append(merged, t)
		}
	}
	return merged
}

// coversToleration tells whether wide tolerates all that t tolerates.
func coversToleration(wide, t corev1.Toleration) bool {
	if apiequality.Semantic.DeepEqual(wide, t) {
		return true
	}
	if t.Key != wide.Key && (wide.Key != "" || wide.Operator != corev1.TolerationOpExists) {
		return false
	}
	if t.Effect != wide.Effect && wide.Effect != "" {
		return false
	}
	if wide.Effect == corev1.TaintEffectNoExecute && wide.TolerationSeconds != nil &&
		(t.TolerationSeconds == nil || *t.TolerationSeconds > *wide.TolerationSeconds) {
		return false
	}
	switch wide.Operator {
	case corev1.TolerationOpEqual, "":
		return t.Operator == corev1.TolerationOpEqual && t.Value == wide.Value
	case corev1.TolerationOpExists:
		return true
	}
	return false
}
