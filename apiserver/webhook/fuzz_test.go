package webhook_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/client"
)

// loopback dials the port on this machine, and notes what was asked for.
func loopback(mu *sync.Mutex, dialed *[]string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		*dialed = append(*dialed, address)
		mu.Unlock()
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
}

// Whatever a webhook answers, the client gets the object or a status, and what is stored is valid.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `"x"`, ``, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"UID","allowed":true}}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"UID","allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL2RhdGEiLCJ2YWx1ZSI6eyJ4IjoieSJ9fV0="}}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"UID","allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9kYXRhIn1d"}}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"UID","allowed":false,"status":{"code":-1,"message":"\u0000","details":{"causes":[null]}}}}`,
		`{"kind":"Status","apiVersion":"v1","status":"Failure","code":999}`,
	} {
		f.Add(s)
	}
	w := newWorld(f)
	c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Webhooks: []admissionregistrationv1.MutatingWebhook{{
		Name: "m.example.com", ClientConfig: w.url("/m"), Rules: rule(),
		SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"}}}}
	if _, err := client.For[*admissionregistrationv1.MutatingWebhookConfiguration](w).Create(f.Context(), c); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		if answer == "" {
			answer = " "
		}
		w.hooks.set("/m", behaviour{Response: answer})
		got, err := client.For[*corev1.ConfigMap](w).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "c-", Namespace: "default"}})
		if err != nil {
			if status, ok := err.(apierrors.APIStatus); !ok || status.Status().Code < 400 {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if got.Namespace != "default" || got.Name == "" || strings.Contains(got.Name, "/") || got.UID == "" {
			t.Fatalf("%+v", got)
		}
	})
}
