package apiserver

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-helpers/nodedeclaredfeatures"
	helper "k8s.io/component-helpers/resource"

	"github.com/inboard/inboard/apiserver/client"
)

// declaredFor is the version whose rules hold for what an update asks of a node: that of the libraries used here.
var declaredFor = version.MustParse("1.37.2")

// changedOnNode returns a pod whose spec an update changes, and its old state, if it has a node; else nil.
func changedOnNode(r *AdmissionRequest) (pod, old *corev1.Pod) {
	pod, ok := r.Object.(*corev1.Pod)
	old, okOld := r.Old.(*corev1.Pod)
	if !ok || !okOld || r.Operation != Update || pod.Spec.NodeName == "" || old.Generation == pod.Generation {
		return nil, nil
	}
	return pod, old
}

func nodeOf(r *AdmissionRequest, pod *corev1.Pod) (*corev1.Node, error) {
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: nodesResource, Name: pod.Spec.NodeName})
	if err != nil {
		return nil, err
	}
	node, ok := obj.(*corev1.Node)
	if !ok {
		return nil, fmt.Errorf("node %q not found", pod.Spec.NodeName)
	}
	return node, nil
}

// nodeDeclaresFeatures refuses changes of a pod that its node's kubelet can't follow.
func nodeDeclaresFeatures(_ context.Context, r *AdmissionRequest) error {
	pod, old := changedOnNode(r)
	if pod == nil || r.Ref.Subresource != "" && r.Ref.Subresource != "resize" {
		return nil
	}
	needed, err := nodedeclaredfeatures.DefaultFramework.InferForPodUpdate(
		&nodedeclaredfeatures.PodInfo{Spec: &old.Spec, Status: &old.Status}, &nodedeclaredfeatures.PodInfo{Spec: &pod.Spec, Status: &pod.Status}, declaredFor)
	if err != nil {
		return fmt.Errorf("failed to infer pod capability requirements: %w", err)
	}
	if needed.IsEmpty() {
		return nil
	}
	node, err := nodeOf(r, pod)
	if err != nil {
		return err
	}
	match, err := nodedeclaredfeatures.DefaultFramework.MatchNode(needed, node)
	if err != nil {
		return fmt.Errorf("failed to match pod requirements against node %q: %w", node.Name, err)
	}
	if !match.IsMatch {
		return fmt.Errorf("pod update requires features %s which are not available on node %q", strings.Join(match.UnsatisfiedRequirements, ", "), node.Name)
	}
	return nil
}

// podResize refuses to give a pod more than its node has for all pods.
func podResize(_ context.Context, r *AdmissionRequest) error {
	pod, _ := changedOnNode(r)
	if pod == nil || r.Ref.Subresource != "resize" {
		return nil
	}
	node, err := nodeOf(r, pod)
	if err != nil {
		return err
	}
	if os, ok := node.Labels[corev1.LabelOSStable]; ok && os != "linux" {
		return r.forbidden("UnsupportedPlatform", fmt.Errorf("pod resize is only supported on linux nodes, node %q is %q", node.Name, os))
	}
	requests := helper.PodRequests(pod, helper.PodResourcesOptions{})
	var lacking []string
	if asked, has := requests.Cpu(), node.Status.Allocatable.Cpu(); asked.Cmp(*has) > 0 {
		lacking = append(lacking, fmt.Sprintf("cpu, requested: %d, allocatable: %d", asked.MilliValue(), has.MilliValue()))
	}
	if asked, has := requests.Memory(), node.Status.Allocatable.Memory(); asked.Cmp(*has) > 0 {
		lacking = append(lacking, fmt.Sprintf("memory, requested: %d, allocatable: %d", asked.Value(), has.Value()))
	}
	if len(lacking) > 0 {
		return r.forbidden("NodeCapacity", fmt.Errorf("node didn't have enough allocatable resources: %s", strings.Join(lacking, "; ")))
	}
	return nil
}

// forbidden is a 403 with a cause of some type.
func (r *AdmissionRequest) forbidden(cause metav1.CauseType, err error) error {
	status := apierrors.NewForbidden(r.Ref.GroupResource(), r.Ref.Name, err)
	status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Type: cause})
	return status
}
