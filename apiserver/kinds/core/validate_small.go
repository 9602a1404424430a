package core

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const (
	frozen = "field is immutable when `immutable` is set"
	// maxData is how much a ConfigMap or Secret may hold, in bytes.
	maxData = corev1.MaxSecretSize
)

func validateConfigMap(o, old *corev1.ConfigMap) field.ErrorList {
	var l check.List
	if old != nil && ptr.Deref(old.Immutable, false) {
		staysFrozen(&l, o.Immutable)
		stays(&l, "data", o.Data, old.Data)
		stays(&l, "binaryData", o.BinaryData, old.BinaryData)
	}
	size := 0
	for _, k := range slices.Sorted(maps.Keys(o.Data)) {
		l.ConfigKey(field.NewPath("data").Key(k), k)
		if _, both := o.BinaryData[k]; both {
			l.Invalid(field.NewPath("data").Key(k), k, "duplicate of key present in binaryData")
		}
		size += len(o.Data[k])
	}
	for _, k := range slices.Sorted(maps.Keys(o.BinaryData)) {
		l.ConfigKey(field.NewPath("binaryData").Key(k), k)
		size += len(o.BinaryData[k])
	}
	if size > maxData {
		l.Add(field.TooLong(field.NewPath(""), "", maxData))
	}
	return l.Errors()
}

func staysFrozen(l *check.List, immutable *bool) {
	if !ptr.Deref(immutable, false) {
		l.Forbidden(field.NewPath("immutable"), frozen)
	}
}

func stays(l *check.List, name string, now, before any) {
	if !reflect.DeepEqual(now, before) {
		l.Forbidden(field.NewPath(name), frozen)
	}
}

func prepareSecret(o, old *corev1.Secret) {
	if old != nil && o.Type == "" {
		o.Type = old.Type
	}
}

func validateSecret(o, old *corev1.Secret) field.ErrorList {
	var l check.List
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Type, old.Type, field.NewPath("type"))...)
		if ptr.Deref(old.Immutable, false) {
			staysFrozen(&l, o.Immutable)
			stays(&l, "data", o.Data, old.Data)
		}
	}
	data, size := field.NewPath("data"), 0
	for _, k := range slices.Sorted(maps.Keys(o.Data)) {
		l.ConfigKey(data.Key(k), k)
		size += len(o.Data[k])
	}
	if size > maxData {
		l.Add(field.TooLong(data, "", maxData))
	}
	secretType(&l, o, data)
	return l.Errors()
}

// secretType asks for what each type of secret can't do without.
func secretType(l *check.List, o *corev1.Secret, data *field.Path) {
	need := func(key string) bool {
		_, ok := o.Data[key]
		if !ok {
			l.Required(data.Key(key), "")
		}
		return ok
	}
	needJSON := func(key string) {
		if !need(key) {
			return
		}
		if err := json.Unmarshal(o.Data[key], &map[string]any{}); err != nil {
			l.Invalid(data.Key(key), "<secret contents redacted>", err.Error())
		}
	}
	switch o.Type {
	case corev1.SecretTypeServiceAccountToken:
		if o.Annotations[corev1.ServiceAccountNameKey] == "" {
			l.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), "")
		}
	case corev1.SecretTypeDockercfg:
		needJSON(corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		needJSON(corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, user := o.Data[corev1.BasicAuthUsernameKey]
		if _, password := o.Data[corev1.BasicAuthPasswordKey]; !user && !password {
			need(corev1.BasicAuthUsernameKey)
			need(corev1.BasicAuthPasswordKey)
		}
	case corev1.SecretTypeSSHAuth:
		if len(o.Data[corev1.SSHAuthPrivateKey]) == 0 {
			l.Required(data.Key(corev1.SSHAuthPrivateKey), "")
		}
	case corev1.SecretTypeTLS:
		need(corev1.TLSCertKey)
		need(corev1.TLSPrivateKeyKey)
	}
}

func validateNamespace(o, old *corev1.Namespace) field.ErrorList {
	var l check.List
	path := field.NewPath("spec", "finalizers")
	for _, f := range o.Spec.Finalizers {
		l.Add(apivalidation.ValidateFinalizerName(string(f), path)...)
		if !strings.Contains(string(f), "/") && f != corev1.FinalizerKubernetes && f != "orphan" && f != "foregroundDeletion" {
			l.Invalid(path, string(f), "name is neither a standard finalizer name nor is it fully qualified")
		}
	}
	return l.Errors()
}

func validateNamespaceStatus(o, _ *corev1.Namespace) field.ErrorList {
	var l check.List
	path := field.NewPath("status", "Phase")
	switch deleting := !o.DeletionTimestamp.IsZero(); {
	case !deleting && o.Status.Phase != corev1.NamespaceActive:
		l.Invalid(path, o.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")
	case deleting && o.Status.Phase != corev1.NamespaceTerminating:
		l.Invalid(path, o.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
	}
	return l.Errors()
}
