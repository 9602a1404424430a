package webhook

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/inboard/inboard/apiserver/cel"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/internal/hookclient"
	"github.com/inboard/inboard/apiserver/internal/registration"
)

// Sources of the view, in the order of Kinds.
const (
	mutating = iota
	validating
)

// hook is a webhook of either kind, ready to be asked.
type hook struct {
	admissionregistrationv1.ValidatingWebhook
	// id names the webhook among all, configuration is the object that has it.
	id, configuration string
	// again tells that a mutating webhook wants to be asked again when others change the object after it.
	again bool

	matcher    *registration.Matcher
	conditions func() *cel.Conditions
	// target is how it is reached.
	target *hookclient.Target
}

// ignores tells that a webhook that can't be asked is passed over.
func (h *hook) ignores() bool {
	return h.FailurePolicy != nil && *h.FailurePolicy == admissionregistrationv1.Ignore
}

// view is the webhooks in the order in which they are asked, by source.
type view struct {
	clients        *hookclient.Clients
	configurations [2][]configuration
	hooks          [2][]*hook
}

// configuration is what is made of a stored one.
type configuration struct {
	name  string
	hooks []*hook
}

func newView(c *hookclient.Clients) *view { return &view{clients: c} }

func (v *view) Reset() {
	v.configurations, v.hooks = [2][]configuration{}, [2][]*hook{}
	v.clients.Keep(nil)
}

func (v *view) Put(source int, obj client.Object) {
	c := configuration{name: obj.GetName()}
	switch o := obj.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range o.Webhooks {
			w := o.Webhooks[i].DeepCopy()
			again := w.ReinvocationPolicy != nil && *w.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy
			c.add(v.clients, plain(w), again)
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range o.Webhooks {
			c.add(v.clients, o.Webhooks[i].DeepCopy(), false)
		}
	}
	i, found := v.find(source, c.name)
	if found {
		v.configurations[source][i] = c
	} else {
		v.configurations[source] = slices.Insert(v.configurations[source], i, c)
	}
	v.collect(source)
}

func (v *view) Remove(source int, _, name string) {
	if i, found := v.find(source, name); found {
		v.configurations[source] = slices.Delete(v.configurations[source], i, i+1)
		v.collect(source)
	}
}

func (v *view) find(source int, name string) (int, bool) {
	return slices.BinarySearchFunc(v.configurations[source], name, func(c configuration, name string) int { return strings.Compare(c.name, name) })
}

// collect lists the webhooks anew; readers may still use the former list.
func (v *view) collect(source int) {
	var list []*hook
	for _, c := range v.configurations[source] {
		list = append(list, c.hooks...)
	}
	v.hooks[source] = list
	var targets []*hookclient.Target
	for _, h := range slices.Concat(v.hooks[mutating], v.hooks[validating]) {
		targets = append(targets, h.target)
	}
	v.clients.Keep(targets)
}

// add adds a webhook of a configuration. What is made of it is made when it is first needed.
func (c *configuration) add(clients *hookclient.Clients, w *admissionregistrationv1.ValidatingWebhook, again bool) {
	h := &hook{ValidatingWebhook: *w, configuration: c.name, again: again, target: clients.To(w.Name, w.ClientConfig)}
	same := 0
	for _, other := range c.hooks {
		if other.Name == h.Name {
			same++
		}
	}
	h.id = fmt.Sprintf("%s/%s/%d", c.name, h.Name, same)
	m := &admissionregistrationv1.MatchResources{NamespaceSelector: h.NamespaceSelector, ObjectSelector: h.ObjectSelector, MatchPolicy: h.MatchPolicy}
	for _, r := range h.Rules {
		m.ResourceRules = append(m.ResourceRules, admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: r})
	}
	h.matcher = registration.NewMatcher(m)
	h.conditions = sync.OnceValue(func() *cel.Conditions { return cel.NewConditions(h.MatchConditions, h.FailurePolicy, false) })
	c.hooks = append(c.hooks, h)
}

// plain returns a mutating webhook as a validating one: they differ in nothing else but the reinvocation policy.
func plain(w *admissionregistrationv1.MutatingWebhook) *admissionregistrationv1.ValidatingWebhook {
	return &admissionregistrationv1.ValidatingWebhook{
		Name: w.Name, ClientConfig: w.ClientConfig, Rules: w.Rules, FailurePolicy: w.FailurePolicy, MatchPolicy: w.MatchPolicy,
		NamespaceSelector: w.NamespaceSelector, ObjectSelector: w.ObjectSelector, SideEffects: w.SideEffects,
		TimeoutSeconds: w.TimeoutSeconds, AdmissionReviewVersions: w.AdmissionReviewVersions, MatchConditions: w.MatchConditions,
	}
}
