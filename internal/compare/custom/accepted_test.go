package custom

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// accepted returns a definition that a server accepts, made of one by leaving out what it refuses; nil when that does
// not help.
func (a *api) accepted(t *testing.T, d object) object {
	for range 8 {
		got := a.send(t, request{method: "POST", path: definitionsPath + "?dryRun=All", media: jsonType, body: encoded(d)})
		if got.code == http.StatusCreated {
			return d
		}
		details, _ := got.body["details"].(object)
		causes, _ := details["causes"].([]any)
		for _, c := range causes {
			repair(d, c.(object)["field"].(string))
		}
	}
	return nil
}

var step = regexp.MustCompile(`\.?([^.\[\]]+)|\[([^\]]*)\]`)

// repair leaves out what stands at a path, or above it: rules, a default, selectable fields.
func repair(d object, path string) {
	spec := d["spec"].(object)
	path = strings.TrimPrefix(path, "spec.")
	if !strings.HasPrefix(path, "versions") { // it is about all versions, which are the same
		for i := range spec["versions"].([]any) {
			repair(d, "versions["+strconv.Itoa(i)+"]."+strings.Replace(path, "validation.", "schema.", 1))
		}
		return
	}
	var at any = spec
	for _, m := range step.FindAllStringSubmatch(path, -1) {
		name := m[1] + m[2]
		switch in := at.(type) {
		case object:
			if strings.HasPrefix(name, "x-kubernetes-validations") || name == "default" || name == "selectableFields" || name == "additionalPrinterColumns" {
				delete(in, name)
				return
			}
			at = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(in) {
				return
			}
			at = in[i]
		}
	}
	if s, ok := at.(object); ok {
		for _, name := range []string{"x-kubernetes-validations", "default", "enum", "anyOf", "oneOf", "allOf", "not"} {
			delete(s, name)
		}
	}
}
