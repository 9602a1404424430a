package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// IsKubernetesSigner tells whether a signer is one of Kubernetes' own.
func IsKubernetesSigner(name string) bool {
	domain, _, _ := strings.Cut(name, "/")
	return domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")
}

// Signer asks for the name of a signer of certificates, as in example.com/name.
func (l *List) Signer(path *field.Path, name string) {
	const longestPath = validation.DNS1123SubdomainMaxLength + validation.DNS1123LabelMaxLength + 1 // namespace.name
	if name == "" {
		l.Required(path, "")
		return
	}
	parts := strings.Split(name, "/")
	if len(parts) != 2 {
		l.Invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
		return
	}
	domain, rest := parts[0], parts[1]
	if len(domain) > validation.DNS1123SubdomainMaxLength {
		l.Add(field.TooLong(path, "", validation.DNS1123SubdomainMaxLength))
	}
	l.firstWrong(path, domain, validation.IsDNS1123Label)
	if !strings.Contains(domain, ".") {
		l.Invalid(path, domain, "should be a domain with at least two segments separated by dots")
	}
	l.firstWrong(path, rest, validation.IsDNS1123Subdomain)
	if longest := validation.DNS1123SubdomainMaxLength + longestPath + 1; len(name) > longest {
		l.Add(field.TooLong(path, "", longest))
	}
}

// firstWrong tells about the first of the labels in text, between dots, that is wrong.
func (l *List) firstWrong(path *field.Path, text string, wrong func(string) []string) {
	for label := range strings.SplitSeq(text, ".") {
		messages := wrong(label)
		for _, m := range messages {
			l.Invalid(path, text, fmt.Sprintf("validating label %q: %s", label, m))
		}
		if len(messages) > 0 {
			return
		}
	}
}

// SignerAnnotations asks for what a pod may tell a signer about itself: keys with a domain.
func (l *List) SignerAnnotations(path *field.Path, annotations map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		l.Add(validation.IsDomainPrefixedKey(path, strings.ToLower(k))...)
	}
	if apivalidation.ValidateAnnotationsSize(annotations) != nil {
		l.Add(field.TooLong(path, "", apivalidation.TotalAnnotationSizeLimitB))
	}
}

// TrustBundleName returns what is wrong with the name of a ClusterTrustBundle of a signer, or of none: those of
// a signer begin with its name.
func TrustBundleName(signer, name string, prefix bool) []string {
	if signer == "" {
		if strings.Contains(name, ":") {
			return []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
		}
		return apivalidation.NameIsDNSSubdomain(name, prefix)
	}
	begin := strings.ReplaceAll(signer, "/", ":") + ":"
	rest, ok := strings.CutPrefix(name, begin)
	if !ok {
		return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", signer, begin)}
	}
	return apivalidation.NameIsDNSSubdomain(rest, prefix)
}
