package crd

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/util/cert"
)

func validateConversion(c *apiextensions.CustomResourceConversion, o options, at *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	switch c.Strategy {
	case apiextensions.WebhookConverter:
		return append(validateWebhook(c.WebhookClientConfig, o, at.Child("webhookClientConfig")),
			validateReviewVersions(c.ConversionReviewVersions, o, at.Child("conversionReviewVersions"))...)
	case apiextensions.NoneConverter:
	case "":
		errs = append(errs, field.Required(at.Child("strategy"), ""))
	default:
		errs = append(errs, field.NotSupported(at.Child("strategy"), string(c.Strategy), []string{"None", "Webhook"}))
	}
	if c.WebhookClientConfig != nil {
		errs = append(errs, field.Forbidden(at.Child("webhookClientConfig"), "should not be set when strategy is not set to Webhook"))
	}
	if len(c.ConversionReviewVersions) > 0 {
		errs = append(errs, field.Forbidden(at.Child("conversionReviewVersions"), "should not be set when strategy is not set to Webhook"))
	}
	return errs
}

func validateWebhook(c *apiextensions.WebhookClientConfig, o options, at *field.Path) field.ErrorList {
	if c == nil {
		return field.ErrorList{field.Required(at, "required when strategy is set to Webhook")}
	}
	var errs field.ErrorList
	switch {
	case (c.URL == nil) == (c.Service == nil):
		errs = append(errs, field.Required(at, "exactly one of url or service is required"))
	case c.URL != nil:
		errs = append(errs, validateWebhookURL(*c.URL, at.Child("url"))...)
	default:
		errs = append(errs, validateWebhookService(c.Service, at.Child("service"))...)
	}
	if len(c.CABundle) > 0 && !o.anyCABundle {
		errs = append(errs, validateCABundle(at.Child("caBundle"), c.CABundle)...)
	}
	return errs
}

// validateCABundle refuses what has no certificates in it.
func validateCABundle(at *field.Path, bundle []byte) field.ErrorList {
	if len(bundle) == 0 {
		return nil
	}
	if _, err := cert.ParseCertsPEM(bundle); err != nil {
		return field.ErrorList{field.Invalid(at, bundle, "unable to load root certificates: unable to parse bytes as PEM block")}
	}
	return nil
}

func validateWebhookURL(text string, at *field.Path) field.ErrorList {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(text)
	if err != nil {
		return field.ErrorList{field.Required(at, "url must be a valid URL: "+err.Error()+form)}
	}
	var errs field.ErrorList
	if u.Scheme != "https" {
		errs = append(errs, field.Invalid(at, u.Scheme, "'https' is the only allowed URL scheme"+form))
	}
	if u.Host == "" {
		errs = append(errs, field.Invalid(at, u.Host, "host must be specified"+form))
	}
	if u.User != nil {
		errs = append(errs, field.Invalid(at, u.User.String(), "user information is not permitted in the URL"))
	}
	if u.Fragment != "" {
		errs = append(errs, field.Invalid(at, u.Fragment, "fragments are not permitted in the URL"))
	}
	if u.RawQuery != "" {
		errs = append(errs, field.Invalid(at, u.RawQuery, "query parameters are not permitted in the URL"))
	}
	return errs
}

func validateWebhookService(s *apiextensions.ServiceReference, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Namespace == "" { // the names of the two fields are swapped, as in Kubernetes
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	if s.Name == "" {
		errs = append(errs, field.Required(at.Child("namespace"), ""))
	}
	if wrong := utilvalidation.IsValidPortNum(int(s.Port)); wrong != nil {
		errs = append(errs, field.Invalid(at.Child("port"), s.Port, "port is not valid: "+strings.Join(wrong, ", ")))
	}
	if s.Path == nil || *s.Path == "/" || *s.Path == "" {
		return errs
	}
	path := *s.Path
	if path == "//" {
		return append(errs, field.Invalid(at.Child("path"), path, "segment[0] may not be empty"))
	}
	if !strings.HasPrefix(path, "/") {
		errs = append(errs, field.Invalid(at.Child("path"), path, "must start with a '/'"))
	}
	for i, segment := range strings.Split(strings.TrimSuffix(path[1:], "/"), "/") {
		if segment == "" {
			errs = append(errs, field.Invalid(at.Child("path"), path, fmt.Sprintf("segment[%d] may not be empty", i)))
			continue
		}
		for _, text := range utilvalidation.IsDNS1123Subdomain(segment) {
			errs = append(errs, field.Invalid(at.Child("path"), path, fmt.Sprintf("segment[%d]: %v", i, text)))
		}
	}
	return errs
}

// reviewVersions are those that servers understand.
var reviewVersions = []string{"v1", "v1beta1"}

func validateReviewVersions(versions []string, o options, at *field.Path) field.ErrorList {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	for i, v := range versions {
		if slices.Contains(versions[:i], v) {
			errs = append(errs, field.Invalid(at.Index(i), v, "duplicate version"))
			continue
		}
		for _, text := range utilvalidation.IsDNS1035Label(v) {
			errs = append(errs, field.Invalid(at.Index(i), v, text))
		}
	}
	if o.knownReview && !understood(versions) {
		errs = append(errs, field.Invalid(at, versions, "must include at least one of "+strings.Join(reviewVersions, ", ")))
	}
	return errs
}

func understood(versions []string) bool {
	return slices.ContainsFunc(versions, func(v string) bool { return slices.Contains(reviewVersions, v) })
}
