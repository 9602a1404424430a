package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

type (
	request          = certificatesv1.CertificateSigningRequest
	requestCondition = certificatesv1.CertificateSigningRequestCondition
	conditionType    = certificatesv1.RequestConditionType
)

// legacySigner is what requests of v1beta1 had when they named no signer.
const legacySigner = "kubernetes.io/legacy-unknown"

// usages are all there are, in the order in which messages tell them.
var usages = []certificatesv1.KeyUsage{
	certificatesv1.UsageAny, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth,
	certificatesv1.UsageCodeSigning, certificatesv1.UsageContentCommitment, certificatesv1.UsageCRLSign, certificatesv1.UsageDataEncipherment,
	certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature, certificatesv1.UsageEmailProtection,
	certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment,
	certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning, certificatesv1.UsageSMIME,
	certificatesv1.UsageServerAuth, certificatesv1.UsageSigning, certificatesv1.UsageTimestamping,
}

// prepareRequest leaves who asks to the server; after its creation a request changes by its subresources only.
func prepareRequest(o, old *request) {
	if old == nil {
		o.Spec.Username, o.Spec.UID, o.Spec.Groups, o.Spec.Extra = "", "", nil, nil
		return
	}
	o.Spec, o.Status = *old.Spec.DeepCopy(), *old.Status.DeepCopy()
}

// validateRequest checks a new request. An update leaves alone all that could be wrong.
func validateRequest(o, old *request) field.ErrorList {
	if old != nil {
		return nil
	}
	var l check.List
	if err := checkRequest(o.Spec.Request); err != nil {
		l.Invalid(specPath.Child("request"), o.Spec.Request, err.Error())
	}
	path := specPath.Child("usages")
	if len(o.Spec.Usages) == 0 {
		l.Required(path, "")
	}
	for i, u := range o.Spec.Usages {
		check.Supported(&l, path.Index(i), u, usages...)
	}
	for i, u := range o.Spec.Usages {
		if slices.Contains(o.Spec.Usages[:i], u) {
			l.Add(field.Duplicate(path.Index(i), u))
		}
	}
	if path := specPath.Child("signerName"); o.Spec.SignerName == legacySigner {
		l.Invalid(path, o.Spec.SignerName, "the legacy signerName is not allowed via this API version")
	} else {
		l.Signer(path, o.Spec.SignerName)
	}
	if s := o.Spec.ExpirationSeconds; s != nil && *s < 600 {
		l.Invalid(specPath.Child("expirationSeconds"), *s, "may not specify a duration less than 600 seconds (10 minutes)")
	}
	return l.Errors()
}

func checkRequest(text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return parsed.CheckSignature()
}

// prepareRequestStatus leaves the decision about a request to the subresource approval.
func prepareRequestStatus(o, old *request) {
	for _, t := range []conditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		now, was := placesOf(o, t), placesOf(old, t)
		if len(now) != len(was) {
			continue // which validation refuses
		}
		for i := range now {
			o.Status.Conditions[now[i]] = old.Status.Conditions[was[i]]
		}
	}
	noteTimes(o.Status.Conditions, old.Status.Conditions)
}

func placesOf(o *request, t conditionType) []int {
	var places []int
	for i, c := range o.Status.Conditions {
		if c.Type == t {
			places = append(places, i)
		}
	}
	return places
}

func conditionsOf(o *request, t conditionType) []requestCondition {
	var list []requestCondition
	for _, i := range placesOf(o, t) {
		list = append(list, o.Status.Conditions[i])
	}
	return list
}

// noteTimes fills in the times of conditions that the client left out.
func noteTimes(list, old []requestCondition) {
	now := metav1.Now()
	for i := range list {
		c := &list[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		same := func(o requestCondition) bool {
			return o.Type == c.Type && o.Status == c.Status && !o.LastTransitionTime.IsZero()
		}
		if j := slices.IndexFunc(old, same); j >= 0 {
			c.LastTransitionTime = old[j].LastTransitionTime
		}
	}
}

func validateRequestStatus(o, old *request) field.ErrorList {
	var l check.List
	validateConditions(&l, o, old)
	path := field.NewPath("status", "certificate")
	changed := !bytes.Equal(o.Status.Certificate, old.Status.Certificate)
	if changed && checkCertificate(old.Status.Certificate) == nil {
		if err := checkCertificate(o.Status.Certificate); err != nil {
			l.Invalid(path, "<certificate data>", err.Error())
		}
	}
	keptConditions(&l, o, old)
	for _, t := range []conditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		now, was := conditionsOf(o, t), conditionsOf(old, t)
		if len(now) > len(was) {
			l.Forbidden(conditionsPath, fmt.Sprintf("updates may not add a condition of type %q", t))
		} else if len(now) == len(was) && !equality.Semantic.DeepEqual(now, was) {
			l.Forbidden(conditionsPath, fmt.Sprintf("updates may not modify a condition of type %q\n%v", t, diff.Diff(was, now)))
		}
	}
	if changed && len(old.Status.Certificate) > 0 {
		l.Forbidden(path, "updates may not modify existing certificate content")
	}
	return l.Errors()
}

func validateApproval(o, old *request) field.ErrorList {
	var l check.List
	validateConditions(&l, o, old)
	keptConditions(&l, o, old)
	return l.Errors()
}

// keptConditions refuses to take back what was decided.
func keptConditions(l *check.List, o, old *request) {
	for _, t := range []conditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed} {
		if len(placesOf(o, t)) < len(placesOf(old, t)) {
			l.Forbidden(conditionsPath, fmt.Sprintf("updates may not remove a condition of type %q", t))
		}
	}
}

// validateConditions checks the conditions of a request; what was wrong before may stay so.
func validateConditions(l *check.List, o, old *request) {
	has := func(o *request, t conditionType) bool { return len(placesOf(o, t)) > 0 }
	both := func(o *request) bool {
		return has(o, certificatesv1.CertificateApproved) && has(o, certificatesv1.CertificateDenied)
	}
	if both(o) && !both(old) {
		l.Invalid(conditionsPath, "{conditions[{\"type\": \"Approved\"}], conditions[{\"type\": \"Denied\"}]}",
			"must specify at most one of: `conditions[{\"type\": \"Approved\"}]`, `conditions[{\"type\": \"Denied\"}]`")
	}
	emptyBefore, twiceBefore := has(old, ""), len(duplicates(old)) > 0
	twice := duplicates(o)
	for i, c := range o.Status.Conditions {
		path := conditionsPath.Index(i)
		if c.Type == "" && !emptyBefore {
			l.Required(path.Child("type"), "")
		}
		switch c.Type {
		case certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			check.Enum(l, path.Child("status"), c.Status, corev1.ConditionTrue)
		default:
			check.Enum(l, path.Child("status"), c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)
		}
		if twice[i] && !twiceBefore {
			l.Add(field.Duplicate(path.Child("type"), c.Type))
		}
	}
}

// duplicates returns the places of conditions whose type came before.
func duplicates(o *request) map[int]bool {
	seen, out := map[conditionType]bool{}, map[int]bool{}
	for i, c := range o.Status.Conditions {
		if seen[c.Type] {
			out[i] = true
		}
		seen[c.Type] = true
	}
	return out
}

// checkCertificate asks for certificates in PEM, and nothing else; none at all is right.
func checkCertificate(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type != "CERTIFICATE":
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		case len(block.Headers) != 0:
			return errors.New("no PEM block headers are permitted")
		}
		n++
		certs, err := x509.ParseCertificates(block.Bytes)
		if err != nil {
			return err
		}
		if len(certs) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
	}
	if n == 0 {
		return errors.New("must contain at least one CERTIFICATE PEM block")
	}
	return nil
}
