package core

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Node returns the row of Node.
func Node() apiserver.Kind {
	k := newKind("Node", "nodes", "node", "no")
	k.Namespaced = false
	k.Status = true
	k.KeepStatus = true
	k.Object, k.List = &corev1.Node{}, &corev1.NodeList{}
	k.Default = row.Of(defaultNode)
	k.Prepare = row.Pair(prepareNode)
	k.Validate = row.Check(validateNode)
	k.Warnings = row.Warn(nodeWarnings)
	k.ValidateStatus = row.Check(validateNodeStatus)
	k.Fields = row.Fields(map[string]func(*corev1.Node) string{
		"spec.unschedulable": func(o *corev1.Node) string { return strconv.FormatBool(o.Spec.Unschedulable) },
	})
	k.Columns = row.Columns("Name", "Status", "Roles", "Age", "Version", "Internal-IP::wide", "External-IP::wide",
		"OS-Image::wide", "Kernel-Version::wide", "Container-Runtime::wide")
	k.Row = row.Cells(nodeRow)
	return k
}

func defaultNode(o *corev1.Node) {
	if o.Status.Allocatable == nil && o.Status.Capacity != nil {
		o.Status.Allocatable = maps.Clone(o.Status.Capacity)
	}
	podspec.RoundResources(o.Status.Capacity)
	podspec.RoundResources(o.Status.Allocatable)
}

func nodeRow(o *corev1.Node, now time.Time) []any {
	info := o.Status.NodeInfo
	kernel := row.Or(info.KernelVersion, "<unknown>")
	if info.Architecture != "" {
		kernel += " (" + info.Architecture + ")"
	}
	return []any{
		o.Name, nodeStatus(o), row.None(strings.Join(nodeRoles(o.Labels), ",")), row.Age(o.CreationTimestamp, now),
		info.KubeletVersion, nodeAddress(o, corev1.NodeInternalIP), nodeAddress(o, corev1.NodeExternalIP),
		row.Or(info.OSImage, "<unknown>"), kernel, row.Or(info.ContainerRuntimeVersion, "<unknown>"),
	}
}

func nodeStatus(o *corev1.Node) string {
	status := "Unknown"
	for _, c := range o.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		status = "NotReady"
		if c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if o.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodeRoles(labels map[string]string) []string {
	roles := map[string]bool{}
	for k, v := range labels {
		if role, ok := strings.CutPrefix(k, "node-role.kubernetes.io/"); ok && role != "" {
			roles[role] = true
		} else if k == "kubernetes.io/role" && v != "" {
			roles[v] = true
		}
	}
	return slices.Sorted(maps.Keys(roles))
}

func nodeAddress(o *corev1.Node, t corev1.NodeAddressType) string {
	for _, a := range o.Status.Addresses {
		if a.Type == t {
			return a.Address
		}
	}
	return "<none>"
}
