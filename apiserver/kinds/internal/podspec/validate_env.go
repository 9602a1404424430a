package podspec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func hostPortKey(p *corev1.ContainerPort) string {
	return string(p.Protocol) + "/" + p.HostIP + "/" + strconv.Itoa(int(p.HostPort))
}

func (c *checker) env(vars []corev1.EnvVar, path *field.Path) {
	for i := range vars {
		v, p := &vars[i], path.Index(i)
		if v.Name == "" {
			c.Required(p.Child("name"), "")
		} else {
			c.Messages(p.Child("name"), v.Name, validation.IsRelaxedEnvVarName(v.Name))
		}
		if v.ValueFrom != nil {
			c.envSource(v, p.Child("valueFrom"))
		}
	}
}

func (c *checker) envSource(v *corev1.EnvVar, path *field.Path) {
	n, from := 0, v.ValueFrom
	if from.FieldRef != nil {
		n++
		c.fieldRef(from.FieldRef, envFields, path.Child("fieldRef"))
	}
	if from.ResourceFieldRef != nil {
		n++
		c.resourceFieldRef(from.ResourceFieldRef, false, path.Child("resourceFieldRef"))
	}
	if r := from.ConfigMapKeyRef; r != nil {
		n++
		c.keyRef(r.Name, r.Key, path.Child("configMapKeyRef"))
	}
	if r := from.SecretKeyRef; r != nil {
		n++
		c.keyRef(r.Name, r.Key, path.Child("secretKeyRef"))
	}
	if from.FileKeyRef != nil {
		n++
		c.fileKeyRef(from.FileKeyRef, path.Child("fileKeyRef"))
	}
	switch {
	case n == 0:
		c.Invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case v.Value != "":
		c.Invalid(path, "", "may not be specified when `value` is not empty")
	case n > 1:
		c.Invalid(path, "", "may not have more than one field specified at a time")
	}
}

func (c *checker) keyRef(name, key string, path *field.Path) {
	c.Subdomain(path.Child("name"), name)
	if key == "" {
		c.Required(path.Child("key"), "")
		return
	}
	c.ConfigKey(path.Child("key"), key)
}

func (c *checker) fileKeyRef(r *corev1.FileKeySelector, path *field.Path) {
	if r.Key == "" {
		c.Required(path.Child("key"), "")
	} else {
		c.Messages(path.Child("key"), r.Key, validation.IsRelaxedEnvVarName(r.Key))
	}
	if r.VolumeName == "" {
		c.Required(path.Child("volumeName"), "")
	} else {
		c.Label(path.Child("volumeName"), r.VolumeName)
	}
	if r.Path == "" {
		c.Required(path.Child("path"), "")
	} else {
		c.noBacksteps(r.Path, path.Child("path"))
	}
}

func (c *checker) fileKeyRefs(path *field.Path) {
	c.eachContainer(path, func(ctr *corev1.Container, path *field.Path) {
		for i, v := range ctr.Env {
			if v.ValueFrom == nil || v.ValueFrom.FileKeyRef == nil {
				continue
			}
			name, p := v.ValueFrom.FileKeyRef.VolumeName, path.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName")
			if source := c.volumeNamed(name); source == nil {
				c.Add(field.NotFound(p, name))
			} else if source.EmptyDir == nil {
				c.Invalid(p, name, "referenced volume must be of type emptyDir")
			}
		}
	})
}

func (c *checker) volumeNamed(name string) *corev1.VolumeSource {
	for i := len(c.spec.Volumes) - 1; i >= 0; i-- {
		if c.spec.Volumes[i].Name == name {
			return &c.spec.Volumes[i].VolumeSource
		}
	}
	return nil
}

func (c *checker) envFrom(sources []corev1.EnvFromSource, path *field.Path) {
	for i, s := range sources {
		p, n := path.Index(i), 0
		if s.Prefix != "" {
			c.Messages(p.Child("prefix"), s.Prefix, validation.IsRelaxedEnvVarName(s.Prefix))
		}
		if s.ConfigMapRef != nil {
			n++
			c.requiredName(s.ConfigMapRef.Name, p.Child("configMapRef", "name"))
		}
		if s.SecretRef != nil {
			n++
			c.requiredName(s.SecretRef.Name, p.Child("secretRef", "name"))
		}
		if n == 0 {
			c.Invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
		} else if n > 1 {
			c.Invalid(path, "", "may not have more than one field specified at a time")
		}
	}
}

// requiredName asks for the name of an object. One that ends in a dash passes, as the prefix of a
// generated name does: Kubernetes has it so.
func (c *checker) requiredName(name string, path *field.Path) {
	if name == "" {
		c.Required(path, "")
		return
	}
	if before, ok := strings.CutSuffix(name, "-"); ok {
		c.Messages(path, name, validation.IsDNS1123Subdomain(before+"a"))
		return
	}
	c.Subdomain(path, name)
}

// The parts of a pod that variables and files can hold, as the API's messages list them.
var (
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	fileFields     = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	resourceFields = []string{
		"limits.cpu", "limits.ephemeral-storage", "limits.memory",
		"requests.cpu", "requests.ephemeral-storage", "requests.memory",
	}
	// knownFields are the names that the API converts; some of them no place takes.
	knownFields = append([]string{"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"}, envFields...)
)

func (c *checker) fieldRef(f *corev1.ObjectFieldSelector, fields []string, path *field.Path) {
	if f.APIVersion == "" {
		c.Required(path.Child("apiVersion"), "")
		return
	}
	if f.FieldPath == "" {
		c.Required(path.Child("fieldPath"), "")
		return
	}
	name, key, keyed := splitKey(f.FieldPath)
	if problem := convertField(f, name, keyed); problem != "" {
		c.Invalid(path.Child("fieldPath"), f.FieldPath, "error converting fieldPath: "+problem)
		return
	}
	switch {
	case keyed && name == "metadata.annotations":
		c.QualifiedName(path, strings.ToLower(key))
	case keyed && name == "metadata.labels":
		c.QualifiedName(path, key)
	case keyed:
		c.Invalid(path, name, "does not support subscript")
	default:
		if name == "spec.host" {
			name = "spec.nodeName"
		}
		if !slices.Contains(fields, name) {
			c.Add(field.NotSupported(path.Child("fieldPath"), name, fields))
		}
	}
}

func convertField(f *corev1.ObjectFieldSelector, name string, keyed bool) string {
	switch {
	case f.APIVersion != "v1":
		return fmt.Sprintf("unsupported pod version: %s", f.APIVersion)
	case keyed && name != "metadata.annotations" && name != "metadata.labels":
		return fmt.Sprintf("field label does not support subscript: %s", f.FieldPath)
	case !keyed && name != "spec.host" && !slices.Contains(knownFields, name):
		return fmt.Sprintf("field label not supported: %s", f.FieldPath)
	}
	return ""
}

// splitKey splits a path such as metadata.labels['app'] into the path and the key.
func splitKey(fieldPath string) (path, key string, ok bool) {
	rest, ok := strings.CutSuffix(fieldPath, "']")
	if !ok {
		return fieldPath, "", false
	}
	i := strings.LastIndex(rest, "['")
	if i <= 0 {
		return fieldPath, "", false
	}
	return rest[:i], rest[i+2:], true
}

func (c *checker) resourceFieldRef(r *corev1.ResourceFieldSelector, inVolume bool, path *field.Path) {
	huge := strings.HasPrefix(r.Resource, "requests.hugepages-") || strings.HasPrefix(r.Resource, "limits.hugepages-")
	switch {
	case inVolume && r.ContainerName == "":
		c.Required(path.Child("containerName"), "")
	case r.Resource == "":
		c.Required(path.Child("resource"), "")
	case !huge && !slices.Contains(resourceFields, r.Resource):
		c.Add(field.NotSupported(path.Child("resource"), r.Resource, resourceFields))
	}
	if r.Divisor.IsZero() {
		return
	}
	c.divisor(r, huge, path.Child("divisor"))
}

const unitsOfBytes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"

func (c *checker) divisor(r *corev1.ResourceFieldSelector, huge bool, path *field.Path) {
	_, resource, _ := strings.Cut(r.Resource, ".")
	units, what := unitsOfBytes, ""
	switch {
	case resource == "cpu":
		if d := r.Divisor.String(); d != "1m" && d != "1" {
			c.Invalid(path, r.Resource, "only divisor's values 1m and 1 are supported with the cpu resource")
		}
		return
	case resource == "memory":
		what = "memory"
	case resource == "ephemeral-storage":
		what = "local ephemeral storage"
	case huge:
		what = "hugepages"
	default:
		return
	}
	if !slices.Contains(strings.Split(units, ", "), r.Divisor.String()) {
		c.Invalid(path, r.Resource, "only divisor's values "+units+" are supported with the "+what+" resource")
	}
}
