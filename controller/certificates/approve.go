package certificates

import (
	"context"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
)

// askAgain is when to ask anew whether a kubelet may have a certificate: nothing tells of grants.
const askAgain = time.Minute

// Grant is a right by which a request is approved without a person's doing.
type Grant struct {
	// Subresource of certificatesigningrequests that the sender must be allowed to create.
	Subresource string
	// Message of the condition Approved.
	Message string
}

// Grants returns the rights of which one lets a request be approved, as far as it asks for a kubelet's client
// certificate; none for others. Request is what csr asks for.
func Grants(csr *certificatesv1.CertificateSigningRequest) ([]Grant, error) {
	if csr.Spec.SignerName != KubeAPIServerClientKubelet {
		return nil, nil
	}
	request, err := parse(csr.Spec.Request)
	if err != nil {
		return nil, err
	}
	if kubeletClient(request, csr.Spec.Usages) != nil {
		return nil, nil
	}
	var out []Grant
	if csr.Spec.Username == request.Subject.CommonName {
		out = append(out, Grant{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."})
	}
	return append(out, Grant{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}), nil
}

type approver struct {
	client   client.Interface
	typed    client.Typed[*certificatesv1.CertificateSigningRequest]
	requests *controller.View[*certificatesv1.CertificateSigningRequest]
}

func addApprover(g *controller.Group, cfg Config) error {
	r := &approver{client: g.ClientFor(account)}
	r.typed = client.For[*certificatesv1.CertificateSigningRequest](r.client)
	var err error
	if r.requests, err = controller.ViewOf[*certificatesv1.CertificateSigningRequest](g); err != nil {
		return err
	}
	_, err = g.Add(controller.Config{Name: "csrapproving", Reconciler: r, Sources: []controller.Source{open}, Logger: cfg.Logger})
	return err
}

// Reconcile implements controller.Reconciler.
func (r *approver) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	csr, ok := r.requests.Get("", key.Name)
	if !ok || len(csr.Status.Certificate) > 0 || has(csr, certificatesv1.CertificateApproved) || has(csr, certificatesv1.CertificateDenied) {
		return controller.Result{}, nil
	}
	grants, err := Grants(csr)
	if err != nil || len(grants) == 0 {
		return controller.Result{}, err
	}
	for _, grant := range grants {
		allowed, err := r.allowed(ctx, csr, grant)
		if err != nil {
			return controller.Result{}, fmt.Errorf("ask whether %s may have a certificate: %w", csr.Spec.Username, err)
		}
		if allowed {
			return controller.Result{}, r.approve(ctx, csr, grant)
		}
	}
	return controller.Result{After: askAgain}, nil
}

func (r *approver) allowed(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, grant Grant) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: csr.Spec.Username, UID: csr.Spec.UID, Groups: csr.Spec.Groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: certificatesv1.GroupName, Version: "*", Resource: "certificatesigningrequests", Verb: "create", Subresource: grant.Subresource,
		},
	}}
	if len(csr.Spec.Extra) > 0 {
		review.Spec.Extra = make(map[string]authorizationv1.ExtraValue, len(csr.Spec.Extra))
	}
	for k, v := range csr.Spec.Extra {
		review.Spec.Extra[k] = authorizationv1.ExtraValue(v)
	}
	answer, err := client.For[*authorizationv1.SubjectAccessReview](r.client).Create(ctx, review)
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

func (r *approver) approve(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, grant Grant) error {
	csr = csr.DeepCopy()
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: grant.Message,
	})
	ref := r.typed.Ref("", csr.Name)
	ref.Subresource = "approval"
	if _, err := r.client.Update(ctx, ref, csr, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("approve %s: %w", csr.Name, err)
	}
	return nil
}
