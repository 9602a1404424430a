package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	helper "k8s.io/component-helpers/resource"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func (c *checker) containerResources(r *corev1.ResourceRequirements, path *field.Path) {
	c.requirements(r, path, c.ContainerResourceName)
	c.claimNames(r.Claims, path.Child("claims"))
}

// requirements checks limits and requests, in the order of their names.
func (c *checker) requirements(r *corev1.ResourceRequirements, path *field.Path, nameIsValid func(*field.Path, corev1.ResourceName)) {
	limits, requests := path.Child("limits"), path.Child("requests")
	compute, huge := false, false
	note := func(name corev1.ResourceName) {
		compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
		huge = huge || check.IsHugePages(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Limits)) {
		c.amount(limits.Key(string(name)), name, r.Limits, nameIsValid)
		note(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		c.amount(requests.Key(string(name)), name, r.Requests, nil)
		nameIsValid(requests.Key(string(name)), name)
		c.requestFits(r, name, requests, limits)
		note(name)
	}
	if huge && !compute {
		c.Forbidden(path, "HugePages require cpu or memory")
	}
}

func (c *checker) amount(path *field.Path, name corev1.ResourceName, list corev1.ResourceList, nameIsValid func(*field.Path, corev1.ResourceName)) {
	q := list[name]
	if nameIsValid != nil {
		nameIsValid(path, name)
	}
	c.Quantity(path, name, q)
	if check.IsHugePages(name) && !check.HugePagesFit(name, q) {
		c.Invalid(path, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), name))
	}
}

func (c *checker) requestFits(r *corev1.ResourceRequirements, name corev1.ResourceName, requests, limits *field.Path) {
	request := r.Requests[name]
	limit, limited := r.Limits[name]
	switch {
	case !limited && !check.CanOvercommit(name):
		c.Required(limits, "Limit must be set for non overcommitable resources")
	case !limited:
	case request.Cmp(limit) != 0 && !check.CanOvercommit(name):
		c.Invalid(requests, request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))
	case request.Cmp(limit) > 0:
		c.Invalid(requests, request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))
	}
}

func (c *checker) podResources(path *field.Path) {
	r := c.spec.Resources
	if r == nil {
		return
	}
	if c.spec.OS != nil && c.spec.OS.Name == corev1.Windows {
		c.Forbidden(path, "may not be set for a windows pod")
		return
	}
	if r.Claims != nil {
		c.Forbidden(path.Child("claims"), "claims may not be set for Resources at pod-level")
	}
	c.requirements(r, path, func(path *field.Path, name corev1.ResourceName) {
		if c.ResourceName(path, name) && !helper.IsSupportedPodLevelResource(name) {
			c.Add(field.NotSupported(path, name, slices.Sorted(maps.Keys(helper.SupportedPodLevelResources()))))
		}
	})
	c.claimNames(r.Claims, path.Child("claims"))
	c.podCovers(r, path)
}

// podCovers asks that what the pod has in all is enough for what its containers ask.
func (c *checker) podCovers(r *corev1.ResourceRequirements, path *field.Path) {
	pod := &corev1.Pod{Spec: *c.spec}
	requests := helper.AggregateContainerRequests(pod, helper.PodResourcesOptions{})
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		sum := requests[name]
		if q, ok := r.Requests[name]; ok && sum.Cmp(q) > 0 {
			c.Invalid(path.Child("requests").Key(string(name)), q.String(), "must be greater than or equal to aggregate container requests of "+sum.String())
		}
	}
	limits := helper.AggregateContainerLimits(pod, helper.PodResourcesOptions{})
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		sum := limits[name]
		if q, ok := r.Limits[name]; ok && check.IsHugePages(name) && sum.Cmp(q) > 0 {
			c.Invalid(path.Child("limits").Key(string(name)), q.String(), "must be greater than or equal to aggregate container limits of "+sum.String())
		}
	}
	for i := range c.spec.Containers {
		limits := c.spec.Containers[i].Resources.Limits
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			limit := limits[name]
			if q, ok := r.Limits[name]; ok && limit.Cmp(q) > 0 {
				c.Invalid(path.Child("containers").Index(i).Key(string(name)).Child("limits"), limit.String(), "must be less than or equal to pod limits of "+q.String())
			}
		}
	}
}

func (c *checker) resizePolicy(policies []corev1.ContainerResizePolicy, path *field.Path) {
	seen := map[corev1.ResourceName]bool{}
	for i, p := range policies {
		if seen[p.ResourceName] {
			c.Add(field.Duplicate(path.Index(i), p.ResourceName))
		}
		seen[p.ResourceName] = true
		check.Enum(&c.List, path, p.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		check.Enum(&c.List, path, p.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)
		if c.spec.RestartPolicy == corev1.RestartPolicyNever && p.RestartPolicy != corev1.NotRequired {
			c.Invalid(path, p.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")
		}
	}
}

// restartRules checks the restart policy of a single container, ordinary or init.
func (c *checker) restartRules(ctr *corev1.Container, ordinary bool, path *field.Path) {
	policy, rules := ctr.RestartPolicy, ctr.RestartPolicyRules
	if policy == nil {
		if len(rules) > 0 {
			c.Required(path.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
		}
		if !ordinary {
			return
		}
	} else {
		check.Supported(&c.List, path.Child("restartPolicy"), *policy,
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	}
	path = path.Child("restartPolicyRules")
	if len(rules) > 20 {
		c.Add(field.TooMany(path, len(rules), 20))
	}
	for i, r := range rules {
		p := path.Index(i)
		check.Supported(&c.List, p.Child("action"), r.Action,
			corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)
		if r.ExitCodes == nil {
			c.Required(p.Child("exitCodes"), "must be specified")
			continue
		}
		check.Supported(&c.List, p.Child("exitCodes", "operator"), r.ExitCodes.Operator,
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)
		if n := len(r.ExitCodes.Values); n > 255 {
			c.Add(field.TooMany(p.Child("exitCodes", "values"), n, 255))
		}
	}
}

func (c *checker) resourceClaims(path *field.Path) {
	names := map[string]bool{}
	for i, claim := range c.spec.ResourceClaims {
		p := path.Index(i)
		switch {
		case claim.Name == "":
			c.Required(p.Child("name"), "")
		case names[claim.Name]:
			c.Add(field.Duplicate(p.Child("name"), claim.Name))
		default:
			c.Label(p.Child("name"), claim.Name)
			names[claim.Name] = true
		}
		direct, template := claim.ResourceClaimName, claim.ResourceClaimTemplateName
		if direct != nil && template != nil {
			c.Invalid(p, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
		}
		if direct == nil && template == nil {
			c.Invalid(p, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
		}
		if direct != nil {
			c.Subdomain(p.Child("resourceClaimName"), *direct)
		}
		if template != nil {
			c.Subdomain(p.Child("resourceClaimTemplateName"), *template)
		}
	}
}

// claimNames checks the claims that a container uses: each once, or once for each of its requests.
func (c *checker) claimNames(claims []corev1.ResourceClaim, path *field.Path) {
	var known []string
	for _, claim := range c.spec.ResourceClaims {
		if claim.Name != "" && !slices.Contains(known, claim.Name) {
			known = append(known, claim.Name)
		}
	}
	slices.Sort(known)
	used := map[string]bool{}
	for i, claim := range claims {
		p := path.Index(i)
		if claim.Name == "" {
			c.Required(p, "")
			continue
		}
		c.claimOnce(claim, used, p)
		if !slices.Contains(known, claim.Name) {
			err := field.NotFound(p, claim.Name)
			err.Detail = "must be one of the names in pod.spec.resourceClaims"
			if len(known) == 0 {
				err.Detail += " which is empty"
			} else {
				err.Detail += ": " + strings.Join(known, ", ")
			}
			c.Add(err)
		}
	}
}

func (c *checker) claimOnce(claim corev1.ResourceClaim, used map[string]bool, path *field.Path) {
	if used[claim.Name] {
		c.Add(field.Duplicate(path, claim.Name))
		return
	}
	key := claim.Name
	if claim.Request != "" {
		c.Messages(path.Child("request"), claim.Request, validation.IsDNS1123Label(claim.Request))
		key += "/" + claim.Request
	}
	if used[key] {
		c.Add(field.Duplicate(path, key))
	} else if claim.Request == "" {
		for other := range used {
			if strings.HasPrefix(other, claim.Name+"/") {
				c.Add(field.Duplicate(path, claim.Name))
			}
		}
	}
	used[key] = true
}
