package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/webhook"
	"github.com/inboard/inboard/store"
)

// A webhook counts from the moment in which its configuration is stored.
func Example() {
	ctx := context.Background()
	st := ok(store.Open(store.Config{}))
	defer st.Close()
	hooks := ok(webhook.New(webhook.Config{Store: st}))
	defer hooks.Close()
	server := ok(apiserver.New(apiserver.Config{
		Store: st, Kinds: append(kinds.All(), webhook.Kinds()...), Admission: hooks.Admission(),
	}))
	c := server.Client(apiserver.Identity{User: "admin", Groups: []string{apiserver.GroupMasters}})

	refuses := httptest.NewTLSServer(http.HandlerFunc(refuse))
	defer refuses.Close()
	fail, none, url := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, refuses.URL
	ok(client.For[*admissionregistrationv1.ValidatingWebhookConfiguration](c).Create(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "owners"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "owners.example.com", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: refuses.Certificate().Raw})},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}))
	_, err := client.For[*corev1.ConfigMap](c).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}})
	fmt.Println(err)
	// Output:
	// admission webhook "owners.example.com" denied the request: name an owner of a
}

// refuse is a webhook that lets nothing pass.
func refuse(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: "name an owner of " + review.Request.Name}}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(&review)
}

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
