// Package certificates has the rows of certificates.k8s.io/v1: requests for certificates, of anyone and of
// pods, and bundles of certificates to trust. Package controller/certificates approves and signs what
// Kubernetes itself does.
package certificates

import (
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{CertificateSigningRequest(), ClusterTrustBundle(), PodCertificateRequest()}
}

var (
	specPath       = field.NewPath("spec")
	conditionsPath = field.NewPath("status", "conditions")
)

func newKind(kind, resource, singular string, short ...string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    certificatesv1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource, Singular: singular, ShortNames: short,
	}
}

// anyName takes each name that a path can have.
func anyName(name string, _ bool) []string { return content.IsPathSegmentName(name) }

// CertificateSigningRequest returns the row of CertificateSigningRequest.
func CertificateSigningRequest() apiserver.Kind {
	k := newKind("CertificateSigningRequest", "certificatesigningrequests", "certificatesigningrequest", "csr")
	k.Object, k.List = &certificatesv1.CertificateSigningRequest{}, &certificatesv1.CertificateSigningRequestList{}
	k.Status = true
	k.StatusResets = []string{"status.conditions"}
	k.Resets = []string{"spec"}
	k.NameIsValid = anyName
	k.Prepare = row.Pair(prepareRequest)
	k.Sender = noteSender
	k.Validate = row.Check(validateRequest)
	k.PrepareStatus = row.Pair(prepareRequestStatus)
	k.ValidateStatus = row.Check(validateRequestStatus)
	k.Subresources = map[string]apiserver.Subresource{"approval": approval()}
	k.Fields = row.Fields(map[string]func(*certificatesv1.CertificateSigningRequest) string{
		"spec.signerName": func(o *certificatesv1.CertificateSigningRequest) string { return o.Spec.SignerName },
	})
	k.Columns = row.Columns("Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition")
	k.Row = row.Cells(requestRow)
	return k
}

func requestRow(o *certificatesv1.CertificateSigningRequest, now time.Time) []any {
	asked := "<none>"
	if s := o.Spec.ExpirationSeconds; s != nil {
		asked = duration.HumanDuration(time.Duration(*s) * time.Second)
	}
	return []any{o.Name, row.Age(o.CreationTimestamp, now), row.None(o.Spec.SignerName), o.Spec.Username, asked, requestState(o)}
}

// requestState tells what became of a request, as kubectl prints it.
func requestState(o *certificatesv1.CertificateSigningRequest) string {
	has := map[certificatesv1.RequestConditionType]bool{}
	for _, c := range o.Status.Conditions {
		has[c.Type] = true
	}
	state := "Pending"
	switch {
	case has[certificatesv1.CertificateDenied]:
		state = "Denied"
	case has[certificatesv1.CertificateApproved]:
		state = "Approved"
	}
	if has[certificatesv1.CertificateFailed] {
		state += ",Failed"
	}
	if len(o.Status.Certificate) > 0 {
		state += ",Issued"
	}
	return state
}

// approval is the subresource by which requests are approved and denied. It changes the conditions alone, and
// metadata.
func approval() apiserver.Subresource {
	return apiserver.Subresource{
		Kind: certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"),
		Merge: row.Pair(func(stored, body *certificatesv1.CertificateSigningRequest) {
			stored.Labels, stored.Annotations = body.Labels, body.Annotations
			stored.OwnerReferences, stored.Finalizers = body.OwnerReferences, body.Finalizers
			noteTimes(body.Status.Conditions, stored.Status.Conditions)
			stored.Status.Conditions = body.Status.Conditions
		}),
		Validate: row.Check(validateApproval),
		Resets:   []string{"spec", "status.certificate"},
	}
}

// noteSender notes who asks for a certificate.
func noteSender(obj client.Object, user *apiserver.Identity) {
	spec := &obj.(*certificatesv1.CertificateSigningRequest).Spec
	spec.Username, spec.UID, spec.Groups = user.User, user.UID, user.Groups
	if len(user.Extra) > 0 {
		spec.Extra = make(map[string]certificatesv1.ExtraValue, len(user.Extra))
	}
	for k, v := range user.Extra {
		spec.Extra[k] = v
	}
}
