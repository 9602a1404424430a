package scheduling

import (
	"fmt"

	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// groupChecker looks at a PodGroup's spec. Was is nil when the group is new.
type groupChecker struct {
	check.List
	now, was *schedulingv1beta1.PodGroupSpec
}

func validatePodGroup(o, old *schedulingv1beta1.PodGroup) field.ErrorList {
	c := &groupChecker{now: &o.Spec}
	if old != nil {
		c.was = &old.Spec
	}
	path := field.NewPath("spec")
	c.workload(path.Child("workloadRef"))
	c.policy(path.Child("schedulingPolicy"))
	c.disruption(path.Child("disruptionMode"))
	c.priority(path)
	return c.Errors()
}

// isNew tells whether a field that never changes must be looked at; a change of it is an error.
func (c *groupChecker) isNew(path *field.Path, of func(*schedulingv1beta1.PodGroupSpec) any) bool {
	if c.was == nil {
		return true
	}
	if !equality.Semantic.DeepEqual(of(c.now), of(c.was)) {
		c.Invalid(path, nil, "field is immutable")
	}
	return false
}

func (c *groupChecker) workload(path *field.Path) {
	ref := c.now.WorkloadRef
	if !c.isNew(path, func(s *schedulingv1beta1.PodGroupSpec) any { return s.WorkloadRef }) || ref == nil {
		return
	}
	c.name(path.Child("workloadName"), ref.WorkloadName, content.IsDNS1123Subdomain)
	c.name(path.Child("templateName"), ref.TemplateName, content.IsDNS1123Label)
}

func (c *groupChecker) name(path *field.Path, v string, wrong func(string) []string) {
	if v == "" {
		c.Required(path, "")
		return
	}
	c.Messages(path, v, wrong(v))
}

// oneOf asks for exactly one of two fields.
func (c *groupChecker) oneOf(path *field.Path, first, second string, hasFirst, hasSecond bool) {
	switch {
	case hasFirst && hasSecond:
		c.Invalid(path, fmt.Sprintf("{%s, %s}", first, second), fmt.Sprintf("must specify exactly one of: `%s`, `%s`", first, second))
	case !hasFirst && !hasSecond:
		c.Invalid(path, "", fmt.Sprintf("must specify one of: `%s`, `%s`", first, second))
	}
}

// policy is chosen once; what may change is how many pods make up a gang.
func (c *groupChecker) policy(path *field.Path) {
	p := &c.now.SchedulingPolicy
	switch was := c.was; {
	case was == nil:
		c.oneOf(path, "basic", "gang", p.Basic != nil, p.Gang != nil)
	default:
		old := &was.SchedulingPolicy
		if (p.Basic == nil) != (old.Basic == nil) || (p.Gang == nil) != (old.Gang == nil) {
			c.oneOf(path, "basic", "gang", p.Basic != nil, p.Gang != nil)
		}
		if (p.Basic == nil) != (old.Basic == nil) {
			c.Invalid(path.Child("basic"), nil, "field is immutable")
		}
		switch {
		case p.Gang != nil && old.Gang == nil:
			c.Invalid(path.Child("gang"), nil, "field cannot be set once created")
			return
		case p.Gang == nil && old.Gang != nil:
			c.Invalid(path.Child("gang"), nil, "field cannot be cleared once set")
		case p.Gang != nil && *p.Gang == *old.Gang:
			return
		}
	}
	if p.Gang == nil {
		return
	}
	switch n, at := p.Gang.MinCount, path.Child("gang", "minCount"); {
	case n == 0:
		c.Required(at, "")
	case n < 0:
		c.Invalid(at, n, "must be greater than or equal to 1")
	}
}

func (c *groupChecker) disruption(path *field.Path) {
	mode := c.now.DisruptionMode
	switch {
	case !c.isNew(path, func(s *schedulingv1beta1.PodGroupSpec) any { return s.DisruptionMode }):
	case mode == nil:
		c.Required(path, "")
	default:
		c.oneOf(path, "single", "all", mode.Single != nil, mode.All != nil)
	}
}

func (c *groupChecker) priority(path *field.Path) {
	name := path.Child("priorityClassName")
	if c.isNew(name, func(s *schedulingv1beta1.PodGroupSpec) any { return s.PriorityClassName }) && c.now.PriorityClassName != "" {
		c.Messages(name, c.now.PriorityClassName, content.IsDNS1123Subdomain(c.now.PriorityClassName))
	}
	value := path.Child("priority")
	if c.isNew(value, func(s *schedulingv1beta1.PodGroupSpec) any { return s.Priority }) && c.now.Priority != nil && *c.now.Priority > maxUserPriority {
		c.Invalid(value, *c.now.Priority, fmt.Sprintf("must be less than or equal to %d", maxUserPriority))
	}
}
