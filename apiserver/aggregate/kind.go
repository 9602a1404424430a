package aggregate

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var servicesKind = apiregistrationv1.SchemeGroupVersion.WithKind("APIService")

// Kinds returns the rows of the kinds of apiregistration.k8s.io/v1. The slice is the caller's own.
func Kinds() []apiserver.Kind { return []apiserver.Kind{APIService()} }

// APIService returns the row of APIService: which server answers for a group and version.
func APIService() apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind:  servicesKind,
		Resource:          "apiservices",
		Categories:        []string{"api-extensions"},
		Object:            &apiregistrationv1.APIService{},
		List:              &apiregistrationv1.APIServiceList{},
		Status:            true,
		PlainStatus:       true,
		ConditionalUpdate: true,
		StatusResets:      []string{"metadata"},
		NameIsValid:       func(name string, _ bool) []string { return content.IsPathSegmentName(name) },
		Default:           of(setDefaults),
		Prepare: func(obj, old client.Object) {
			if s := obj.(*apiregistrationv1.APIService); old == nil && s.Spec.Service == nil {
				setAvailable(s, localCondition(s.CreationTimestamp))
			}
		},
		Validate: func(obj, _ client.Object) field.ErrorList { return validate(obj.(*apiregistrationv1.APIService)) },
		PrepareStatus: func(obj, old client.Object) {
			obj.SetLabels(old.GetLabels())
			obj.SetAnnotations(old.GetAnnotations())
			obj.SetFinalizers(old.GetFinalizers())
			obj.SetOwnerReferences(old.GetOwnerReferences())
		},
		ValidateStatus: func(obj, _ client.Object) field.ErrorList {
			return validateStatus(&obj.(*apiregistrationv1.APIService).Status)
		},
		Columns: columns(),
		Row:     cells,
	}
}

func of[T client.Object](f func(T)) func(client.Object) {
	return func(obj client.Object) { f(obj.(T)) }
}

func setDefaults(s *apiregistrationv1.APIService) {
	if ref := s.Spec.Service; ref != nil && ref.Port == nil {
		ref.Port = ptr.To[int32](443)
	}
}

var specPath = field.NewPath("spec")

// validate returns what is wrong with a new or changed APIService.
func validate(s *apiregistrationv1.APIService) field.ErrorList {
	errs := validateName(s)
	spec := &s.Spec
	if spec.Group == "" && spec.Version != "v1" {
		errs = append(errs, field.Required(specPath.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	if spec.Group != "" {
		errs = invalid(errs, specPath.Child("group"), spec.Group, validation.IsDNS1123Subdomain(spec.Group))
	}
	errs = invalid(errs, specPath.Child("version"), spec.Version, validation.IsDNS1035Label(spec.Version))
	if n := spec.GroupPriorityMinimum; n <= 0 || n > 20000 {
		errs = append(errs, field.Invalid(specPath.Child("groupPriorityMinimum"), n, "must be positive and less than 20000"))
	}
	if n := spec.VersionPriority; n <= 0 || n > 1000 {
		errs = append(errs, field.Invalid(specPath.Child("versionPriority"), n, "must be positive and less than 1000"))
	}
	if spec.Service == nil {
		return append(errs, validateLocal(spec)...)
	}
	return append(errs, validateRemote(spec)...)
}

// validateName holds the name, and what one is to be made from, to the group and version.
func validateName(s *apiregistrationv1.APIService) field.ErrorList {
	var errs field.ErrorList
	want := serviceName(s.Spec.Group, s.Spec.Version)
	check := func(path, name string) {
		if name != "" && name != want && len(content.IsPathSegmentName(name)) == 0 {
			errs = append(errs, field.Invalid(field.NewPath("metadata", path), name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
		}
	}
	check("generateName", s.GenerateName)
	check("name", s.Name)
	return errs
}

func invalid(errs field.ErrorList, path *field.Path, value string, wrong []string) field.ErrorList {
	for _, text := range wrong {
		errs = append(errs, field.Invalid(path, value, text))
	}
	return errs
}

func validateLocal(spec *apiregistrationv1.APIServiceSpec) field.ErrorList {
	var errs field.ErrorList
	if n := len(spec.CABundle); n > 0 {
		errs = append(errs, field.Invalid(specPath.Child("caBundle"), fmt.Sprintf("%d bytes", n), "local APIServices may not have a caBundle"))
	}
	if spec.InsecureSkipTLSVerify {
		errs = append(errs, field.Invalid(specPath.Child("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify"))
	}
	return errs
}

func validateRemote(spec *apiregistrationv1.APIServiceSpec) field.ErrorList {
	var errs field.ErrorList
	path := specPath.Child("service")
	if spec.Service.Namespace == "" {
		errs = append(errs, field.Required(path.Child("namespace"), ""))
	}
	if spec.Service.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	port := ptr.Deref(spec.Service.Port, 0)
	if wrong := validation.IsValidPortNum(int(port)); wrong != nil {
		errs = append(errs, field.Invalid(path.Child("port"), port, "port is not valid: "+strings.Join(wrong, ", ")))
	}
	if spec.InsecureSkipTLSVerify && len(spec.CABundle) > 0 {
		errs = append(errs, field.Invalid(specPath.Child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present"))
	}
	return errs
}

func validateStatus(status *apiregistrationv1.APIServiceStatus) field.ErrorList {
	var errs field.ErrorList
	for i, c := range status.Conditions {
		switch c.Status {
		case apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown:
		default:
			errs = append(errs, field.NotSupported(field.NewPath("status", "conditions").Index(i).Child("status"), c.Status,
				[]apiregistrationv1.ConditionStatus{apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown}))
		}
	}
	return errs
}

// serviceName is the name of the APIService of a group and version: "v1." for the group "".
func serviceName(group, version string) string { return version + "." + group }

func columns() []metav1.TableColumnDefinition {
	docs := metav1.ObjectMeta{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: docs["name"]},
		{Name: "Service", Type: "string", Description: "The reference to the service that hosts this API endpoint."},
		{Name: "Available", Type: "string", Description: "Whether this service is available."},
		{Name: "Age", Type: "string", Description: docs["creationTimestamp"]},
	}
}

func cells(obj client.Object, now time.Time) []any {
	s := obj.(*apiregistrationv1.APIService)
	service, available := "Local", string(apiregistrationv1.ConditionUnknown)
	if ref := s.Spec.Service; ref != nil {
		service = ref.Namespace + "/" + ref.Name
	}
	if c := availability(s); c != nil {
		available = string(c.Status)
		if c.Status != apiregistrationv1.ConditionTrue && c.Reason != "" {
			available += " (" + c.Reason + ")"
		}
	}
	age := "<unknown>"
	if !s.CreationTimestamp.IsZero() {
		age = duration.HumanDuration(now.Sub(s.CreationTimestamp.Time))
	}
	return []any{s.Name, service, available, age}
}

// availability returns the condition Available, nil when there is none.
func availability(s *apiregistrationv1.APIService) *apiregistrationv1.APIServiceCondition {
	for i := range s.Status.Conditions {
		if s.Status.Conditions[i].Type == apiregistrationv1.Available {
			return &s.Status.Conditions[i]
		}
	}
	return nil
}

// isAvailable tells whether requests for an APIService are passed on.
func isAvailable(s *apiregistrationv1.APIService) bool {
	c := availability(s)
	return c != nil && c.Status == apiregistrationv1.ConditionTrue
}

// setAvailable sets the condition Available; its time changes with its status alone.
func setAvailable(s *apiregistrationv1.APIService, next apiregistrationv1.APIServiceCondition) {
	next.Type = apiregistrationv1.Available
	c := availability(s)
	if c == nil {
		s.Status.Conditions = append(s.Status.Conditions, next)
		return
	}
	if c.Status == next.Status {
		next.LastTransitionTime = c.LastTransitionTime
	}
	*c = next
}

func localCondition(now metav1.Time) apiregistrationv1.APIServiceCondition {
	return condition(apiregistrationv1.ConditionTrue, "Local", "Local APIServices are always available", now)
}

func condition(status apiregistrationv1.ConditionStatus, reason, message string, now metav1.Time) apiregistrationv1.APIServiceCondition {
	return apiregistrationv1.APIServiceCondition{
		Type: apiregistrationv1.Available, Status: status, Reason: reason, Message: message, LastTransitionTime: now}
}

// byPriority puts APIServices in the order in which clients are told of their groups and, within one, of their versions.
func byPriority(a, b *apiregistrationv1.APIService) int {
	return cmp.Or(cmp.Compare(b.Spec.GroupPriorityMinimum, a.Spec.GroupPriorityMinimum), strings.Compare(a.Name, b.Name))
}
