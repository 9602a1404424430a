package cel

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/mutation"
)

// Names of the variables.
const (
	objectName     = "object"
	oldObjectName  = "oldObject"
	paramsName     = "params"
	requestName    = "request"
	namespaceName  = "namespaceObject"
	authorizerName = "authorizer"
	resourceName   = "authorizer.requestResource"
	variablesName  = "variables"
)

func mode(o Options) environment.Type {
	if o.Stored {
		return environment.StoredExpressions
	}
	return environment.NewExpressions
}

// commonSets are the environments without variables. They never change and are made once for all servers of a process,
// as each takes some milliseconds.
var commonSets sync.Map // Options with Stored false -> func() (*environment.EnvSet, error)

func commonSet(o Options) (*environment.EnvSet, error) {
	o.Stored = false
	make, _ := commonSets.LoadOrStore(o, sync.OnceValues(func() (*environment.EnvSet, error) { return newSet(o) }))
	return make.(func() (*environment.EnvSet, error))()
}

func commonEnv(o Options) (*cel.Env, error) {
	set, err := commonSet(o)
	if err != nil {
		return nil, err
	}
	return set.Env(mode(o))
}

func newSet(o Options) (*environment.EnvSet, error) {
	request, namespace := requestType(), namespaceType()
	vars := []cel.EnvOption{
		cel.Variable(objectName, cel.DynType),
		cel.Variable(oldObjectName, cel.DynType),
		cel.Variable(namespaceName, namespace.CelType()),
		cel.Variable(requestName, request.CelType()),
	}
	if o.Params {
		vars = append(vars, cel.Variable(paramsName, cel.DynType))
	}
	if o.Authorizer {
		vars = append(vars, cel.Variable(authorizerName, library.AuthorizerType), cel.Variable(resourceName, library.ResourceCheckType))
	}
	always := version.MajorMinor(1, 0)
	options := []environment.VersionedOptions{
		{IntroducedVersion: always, EnvOptions: vars, DeclTypes: []*apiservercel.DeclType{namespace, request}},
		environment.StrictCostOpt,
	}
	set, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(options...)
	if err == nil && o.Patches {
		set, err = set.Extend(environment.VersionedOptions{IntroducedVersion: always, EnvOptions: []cel.EnvOption{
			common.ResolverEnvOption(&mutation.DynamicTypeResolver{}),
			environment.UnversionedLib(library.JSONPatch), // has jsonpatch.escapeKey
		}})
	}
	if err != nil {
		return nil, fmt.Errorf("environment misconfigured: %w", err)
	}
	return set, nil
}

// fields are those of a declared type; whether one is required makes no difference to expressions.
type fields map[string]*apiservercel.DeclType

func object(name string, fs fields) *apiservercel.DeclType {
	out := make(map[string]*apiservercel.DeclField, len(fs))
	for n, t := range fs {
		out[n] = apiservercel.NewDeclField(n, t, true, nil, nil)
	}
	return apiservercel.NewObjectType(name, out)
}

func list(of *apiservercel.DeclType) *apiservercel.DeclType { return apiservercel.NewListType(of, -1) }

func mapOf(of *apiservercel.DeclType) *apiservercel.DeclType {
	return apiservercel.NewMapType(apiservercel.StringType, of, -1)
}

// requestType is what an expression may know of the request: an AdmissionReview's, without the objects.
func requestType() *apiservercel.DeclType {
	text := apiservercel.StringType
	gvk := object("kubernetes.GroupVersionKind", fields{"group": text, "version": text, "kind": text})
	gvr := object("kubernetes.GroupVersionResource", fields{"group": text, "version": text, "resource": text})
	user := object("kubernetes.UserInfo", fields{"username": text, "uid": text, "groups": list(text), "extra": mapOf(list(text))})
	return object("kubernetes.AdmissionRequest", fields{
		"kind": gvk, "resource": gvr, "subResource": text,
		"requestKind": gvk, "requestResource": gvr, "requestSubResource": text,
		"name": text, "namespace": text, "operation": text, "userInfo": user,
		"dryRun": apiservercel.BoolType, "options": apiservercel.DynType,
	})
}

// namespaceType is what an expression may know of the request's namespace: all but who manages and owns it.
func namespaceType() *apiservercel.DeclType {
	text, stamp := apiservercel.StringType, apiservercel.TimestampType
	condition := object("kubernetes.NamespaceCondition", fields{
		"status": text, "type": text, "lastTransitionTime": stamp, "message": text, "reason": text,
	})
	return object("kubernetes.Namespace", fields{
		"metadata": object("kubernetes.NamespaceMetadata", fields{
			"name": text, "generateName": text, "namespace": text, "labels": mapOf(text), "annotations": mapOf(text),
			"UID": text, "creationTimestamp": stamp, "deletionGracePeriodSeconds": apiservercel.IntType,
			"deletionTimestamp": stamp, "generation": apiservercel.IntType, "resourceVersion": text, "finalizers": list(text),
		}),
		"spec":   object("kubernetes.NamespaceSpec", fields{"finalizers": list(text)}),
		"status": object("kubernetes.NamespaceStatus", fields{"conditions": list(condition), "phase": text}),
	})
}

var scalars = map[*cel.Type]*apiservercel.DeclType{
	cel.AnyType: apiservercel.AnyType, cel.BoolType: apiservercel.BoolType, cel.BytesType: apiservercel.BytesType,
	cel.DoubleType: apiservercel.DoubleType, cel.DurationType: apiservercel.DurationType, cel.IntType: apiservercel.IntType,
	cel.NullType: apiservercel.NullType, cel.StringType: apiservercel.StringType,
	cel.TimestampType: apiservercel.TimestampType, cel.UintType: apiservercel.UintType,
}

// declType returns the type of a variable from that of its expression: what is neither a scalar nor a list or map of
// known types is anything.
func declType(t *cel.Type) *apiservercel.DeclType {
	if t == nil {
		return apiservercel.DynType
	}
	if scalar := scalars[t]; scalar != nil {
		return scalar
	}
	if t.HasTrait(traits.ContainerType) && t.HasTrait(traits.IndexerType) {
		switch of := t.Parameters(); len(of) {
		case 1:
			return list(declType(of[0]))
		case 2:
			return apiservercel.NewMapType(declType(of[0]), declType(of[1]), -1)
		}
	}
	return apiservercel.DynType
}
