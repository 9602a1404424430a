package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Service returns the row of Service.
func Service() apiserver.Kind {
	k := newKind("Service", "services", "service", "svc")
	k.Categories = []string{"all"}
	k.Status = true
	k.UpdateCreates = true
	k.ReturnDeleted = true
	k.Object, k.List = &corev1.Service{}, &corev1.ServiceList{}
	k.Default = row.Of(defaultService)
	k.Prepare = row.Pair(prepareService)
	k.NameIsValid = validation.NameIsDNSLabel
	k.Validate = row.Check(validateService)
	k.Warnings, k.StatusWarnings = row.Warn(serviceWarnings), row.Warn(serviceStatusWarnings)
	k.ValidateStatus = row.Check(validateServiceStatus)
	k.Allocate = allocateService
	k.Fields = row.Fields(map[string]func(*corev1.Service) string{
		"spec.clusterIP": func(o *corev1.Service) string { return o.Spec.ClusterIP },
		"spec.type":      func(o *corev1.Service) string { return string(o.Spec.Type) },
	})
	k.Columns = row.Columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector::wide")
	k.Row = row.Cells(serviceRow)
	return k
}

func serviceRow(o *corev1.Service, now time.Time) []any {
	ip := "<none>"
	if len(o.Spec.ClusterIPs) > 0 {
		ip = o.Spec.ClusterIPs[0]
	}
	return []any{o.Name, string(o.Spec.Type), ip, serviceExternal(o), row.None(servicePorts(o.Spec.Ports)),
		row.Age(o.CreationTimestamp, now), row.Labels(o.Spec.Selector)}
}

func serviceExternal(o *corev1.Service) string {
	switch o.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		if len(o.Spec.ExternalIPs) == 0 {
			return "<none>"
		}
		return strings.Join(o.Spec.ExternalIPs, ",")
	case corev1.ServiceTypeLoadBalancer:
		return row.Or(strings.Join(append(ingressNames(o), o.Spec.ExternalIPs...), ","), "<pending>")
	case corev1.ServiceTypeExternalName:
		return o.Spec.ExternalName
	}
	return "<unknown>"
}

func ingressNames(o *corev1.Service) []string {
	names := map[string]bool{}
	for _, in := range o.Status.LoadBalancer.Ingress {
		if name := row.Or(in.IP, in.Hostname); name != "" {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func servicePorts(ports []corev1.ServicePort) string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort > 0 {
			list[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		}
	}
	return strings.Join(list, ",")
}
