package crd

import (
	"context"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver"
)

// refusal is why an established definition is not served. Others are served all the same.
type refusal struct {
	reason, message string
	// shared tells that the objects of another definition are stored in the same place.
	shared bool
}

// Reasons of refusals.
const (
	reasonInvalid  = "Invalid"
	reasonConflict = "Conflict"
)

// builtIn are the kinds that a server has of its own.
type builtIn interface {
	ServesFixed(group, version string) bool
	StoresFixed(gr schema.GroupResource) bool
}

// serving returns the rows of all definitions, but for those in a group and version that the server has of its own, and
// of resources whose objects would be among its own ones, with the definitions that can't be served. When two servers
// accept names at the same moment, two definitions may have one kind: the first by name is served, as of two there
// would be none.
func (v *view) serving(own builtIn) (kinds []apiserver.Kind, refused map[string]refusal) {
	refused = map[string]refusal{}
	byKind, byResource := map[schema.GroupVersionKind]string{}, map[schema.GroupVersionResource]string{}
	for _, name := range sortedKeys(v.byName) {
		d := v.byName[name]
		if d.err != nil {
			refused[name] = refusal{reason: reasonInvalid, message: d.err.Error()}
			continue
		}
		var mine []apiserver.Kind
		for _, k := range d.kinds {
			if own.ServesFixed(k.Group, k.Version) || own.StoresFixed(k.ResourceRef().GroupResource()) {
				continue
			}
			if other := byResource[k.ResourceRef()]; other != "" {
				refused[name] = refusal{reasonConflict, fmt.Sprintf("%s serves the resource %s", other, k.ResourceRef().GroupResource()), true}
			} else if other := byKind[k.GroupVersionKind]; other != "" {
				refused[name] = refusal{reason: reasonConflict, message: fmt.Sprintf("%s serves the kind %s of %s", other, k.Kind, k.GroupVersion())}
			}
			mine = append(mine, k)
		}
		if _, bad := refused[name]; bad {
			continue
		}
		for _, k := range mine {
			byKind[k.GroupVersionKind], byResource[k.ResourceRef()] = name, name
		}
		kinds = append(kinds, mine...)
	}
	return kinds, refused
}

// refused returns the definitions that can't be served besides what a server has of its own.
func (d *Definitions) refused(ctx context.Context, own builtIn) (out map[string]refusal, err error) {
	err = d.follower.Read(ctx, func() { _, out = d.view.serving(own) })
	return out, err
}

// tell logs which definitions are refused since the last time.
func (d *Definitions) tell(refused map[string]refusal) {
	for _, name := range sortedKeys(refused) {
		if why := refused[name]; d.told[name] != why {
			d.cfg.Logger.Error("a definition of custom resources is not served", "name", name, "reason", why.message)
		}
	}
	d.told = refused
}

// served is the type of the condition of definitions that are established and yet not served. Kubernetes has none: it
// answers requests for their objects with an error.
const served = apiextensionsv1.CustomResourceDefinitionConditionType("Served")

// judgeServing tells why a definition is not served.
func judgeServing(crd *definitionStatus, refused map[string]refusal) bool {
	if why, ok := refused[crd.Name]; ok {
		return setCondition(crd, condition{Type: served, Status: apiextensionsv1.ConditionFalse, Reason: why.reason, Message: why.message})
	}
	if apihelpers.FindCRDCondition(crd, served) == nil {
		return false
	}
	apihelpers.RemoveCRDCondition(crd, served)
	return true
}
