package certificates

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// What can become of a pod's request, once and for all.
const (
	issued = certificatesv1.PodCertificateRequestConditionTypeIssued
	denied = certificatesv1.PodCertificateRequestConditionTypeDenied
	failed = certificatesv1.PodCertificateRequestConditionTypeFailed
)

const (
	maxChain = 100 << 10 // bytes
	// clockSkew is how far the clocks of signer and server may be apart.
	clockSkew = 5 * time.Minute
	// refreshMargin is how far the time to refresh is from both ends of a certificate's life.
	refreshMargin = 10 * time.Minute
)

var (
	statusPath = field.NewPath("status")
	chainPath  = statusPath.Child("certificateChain")
)

func validatePodRequestStatus(o, old *podRequest) field.ErrorList {
	var l check.List
	podConditions(&l, o.Status.Conditions)
	if len(l) > 0 {
		return l.Errors() // what else must hold depends on them
	}
	same := func(a, b *certificatesv1.PodCertificateRequestStatus, detail string) {
		if !equality.Semantic.DeepEqual(a, b) {
			l.Invalid(statusPath, field.OmitValueType{}, detail)
		}
	}
	switch {
	case is(old, issued) || is(old, denied) || is(old, failed):
		same(&o.Status, &old.Status, "immutable after PodCertificateRequest is issued, denied, or failed")
	case is(o, denied) || is(o, failed):
		same(&o.Status, &certificatesv1.PodCertificateRequestStatus{Conditions: o.Status.Conditions},
			"non-condition status fields must be empty when denying or failing the PodCertificateRequest")
	case is(o, issued):
		l.Add(issuedProblem(o, &old.Spec, time.Now())...)
	default:
		same(&o.Status, &old.Status, `status is immutable unless transitioning to "Issued", "Denied", or "Failed"`)
	}
	return l.Errors()
}

func is(o *podRequest, t string) bool {
	return slices.ContainsFunc(o.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == t && c.Status == metav1.ConditionTrue
	})
}

func podConditions(l *check.List, list []metav1.Condition) {
	n := 0
	for i, c := range list {
		path := statusPath.Child("conditions", fmt.Sprintf("[%d]", i)) // with a dot too many, as in Kubernetes
		if !slices.Contains([]string{issued, denied, failed}, c.Type) {
			l.Add(field.NotSupported(path.Child("type"), c.Type, []string{issued, denied, failed}))
			continue
		}
		if n++; n > 1 {
			l.Invalid(path.Child("type"), c.Type, `There may be at most one condition with type "Issued", "Denied", or "Failed"`)
		}
		check.Supported(l, path.Child("status"), c.Status, metav1.ConditionTrue)
	}
	l.Add(metavalidation.ValidateConditions(list, statusPath.Child("conditions"))...)
}

// issuedProblem returns what is wrong with an issued certificate: with the first thing that is, as each check
// rests on those before.
func issuedProblem(o *podRequest, spec *certificatesv1.PodCertificateRequestSpec, now time.Time) field.ErrorList {
	s := &o.Status
	if len(s.CertificateChain) > maxChain {
		return field.ErrorList{field.TooLong(chainPath, s.CertificateChain, maxChain)}
	}
	wrong := func(detail string) field.ErrorList {
		return field.ErrorList{field.Invalid(chainPath, s.CertificateChain, detail)}
	}
	block, rest := pem.Decode([]byte(s.CertificateChain))
	if block == nil {
		return wrong("issued certificate chain must contain at least one certificate")
	}
	if block.Type != "CERTIFICATE" {
		return wrong("issued certificate chain must consist entirely of CERTIFICATE PEM blocks")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return wrong("leaf certificate does not parse as valid X.509")
	}
	errs := leafNames(leaf)
	key, unreadable := keyOf(spec)
	if unreadable != nil {
		return append(errs, unreadable)
	}
	if k, ok := key.(interface{ Equal(crypto.PublicKey) bool }); ok && !k.Equal(leaf.PublicKey) {
		return append(errs, wrong("leaf certificate was not issued to the requested public key")...)
	}
	if missing := missingTimes(s); len(errs)+len(missing) > 0 {
		return append(errs, missing...)
	}
	if err := lifeProblem(s, leaf, *spec.MaxExpirationSeconds, now); err != nil {
		return field.ErrorList{err}
	}
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return wrong("issued certificate chain must consist entirely of CERTFICATE PEM blocks")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return wrong("intermediate certificate does not parse as valid X.509")
		}
	}
	return nil
}

// leafNames checks the names that a certificate is for.
func leafNames(leaf *x509.Certificate) field.ErrorList {
	var l check.List
	for _, n := range leaf.DNSNames {
		if n == "" {
			l.Invalid(chainPath, n, "leaf certificate should not contain empty DNSName")
		}
		if strings.Contains(n, "..") {
			l.Invalid(chainPath, n, "leaf certificate's DNSName should not contain '..'")
		}
		if strings.HasPrefix(n, ".") || strings.HasSuffix(n, ".") {
			l.Invalid(chainPath, n, "leaf certificate's DNSName should not start or end with '.'")
		}
	}
	for _, a := range leaf.EmailAddresses {
		if _, err := mail.ParseAddress(a); err != nil {
			l.Invalid(chainPath, a, "leaf certificate should not contain invalid EmailAddress")
		}
	}
	return l.Errors()
}

// keyOf returns the key that a request asks for.
func keyOf(s *certificatesv1.PodCertificateRequestSpec) (crypto.PublicKey, *field.Error) {
	r, err := x509.ParseCertificateRequest(s.StubPKCS10Request)
	if err != nil {
		return nil, field.Invalid(specPath.Child("stubPKCS10Request"), field.OmitValueType{}, "must be a valid PKCS#10 CSR")
	}
	return r.PublicKey, nil
}

func missingTimes(s *certificatesv1.PodCertificateRequestStatus) field.ErrorList {
	var l check.List
	if s.NotBefore == nil {
		l.Required(statusPath.Child("notBefore"), "must be present and consistent with the issued certificate")
	}
	if s.NotAfter == nil {
		l.Required(statusPath.Child("notAfter"), "must be present and consistent with the issued certificate")
	}
	if s.BeginRefreshAt == nil {
		l.Required(statusPath.Child("beginRefreshAt"), "must be present and in the range [notbefore+10min, notafter-10min]")
	}
	return l.Errors()
}

// lifeProblem compares the times in a status with those in the certificate, and with what was asked for.
func lifeProblem(s *certificatesv1.PodCertificateRequestStatus, leaf *x509.Certificate, longest int32, now time.Time) *field.Error {
	before, after, refresh := s.NotBefore.Time, s.NotAfter.Time, s.BeginRefreshAt.Time
	beforePath, afterPath, refreshPath := statusPath.Child("notBefore"), statusPath.Child("notAfter"), statusPath.Child("beginRefreshAt")
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case !before.Equal(leaf.NotBefore):
		return field.Invalid(beforePath, before, "must be set to the NotBefore time encoded in the leaf certificate")
	case before.Sub(now).Abs() >= clockSkew:
		return field.Invalid(beforePath, before, "must be set to within 5 minutes of kube-apiserver's current time")
	case !after.Equal(leaf.NotAfter):
		return field.Invalid(afterPath, after, "must be set to the NotAfter time encoded in the leaf certificate")
	case life < time.Hour:
		return field.Invalid(chainPath, life, "leaf certificate lifetime must be >= 1 hour")
	case life > time.Duration(longest)*time.Second:
		return field.Invalid(chainPath, life, fmt.Sprintf("leaf certificate lifetime must be <= spec.maxExpirationSeconds (%v)", longest))
	case refresh.Before(before.Add(refreshMargin)):
		return field.Invalid(refreshPath, refresh, "must be at least 10 minutes after status.notBefore")
	case refresh.After(after.Add(-refreshMargin)):
		return field.Invalid(refreshPath, refresh, "must be at least 10 minutes before status.notAfter")
	}
	return nil
}
