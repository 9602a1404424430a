package webhook_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/apiserver/webhook"
)

// rule is about new ConfigMaps, those of the test.
func rule() []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
	}}
}

// validating configures a validating webhook.
func (w *world) validating(t testing.TB, name string, cc admissionregistrationv1.WebhookClientConfig, change ...func(*admissionregistrationv1.ValidatingWebhook)) {
	t.Helper()
	h := admissionregistrationv1.ValidatingWebhook{Name: name + ".example.com", ClientConfig: cc, Rules: rule(), TimeoutSeconds: ptr.To[int32](30),
		SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1", "v1beta1"}}
	for _, f := range change {
		f(&h)
	}
	_, err := client.For[*admissionregistrationv1.ValidatingWebhookConfiguration](w).Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionregistrationv1.ValidatingWebhook{h}})
	must(t, err)
}

func (w *world) url(path string) admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: ptr.To(w.hooks.URL + path), CABundle: w.hooks.ca()}
}

func (w *world) configMap(t testing.TB, name string) error {
	_, err := client.For[*corev1.ConfigMap](w).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}})
	return err
}

// expose makes a Service of the server's port, and an endpoint of it.
func (w *world) expose(t testing.TB, name string, ready bool) {
	t.Helper()
	_, port, err := net.SplitHostPort(w.hooks.Listener.Addr().String())
	must(t, err)
	n, err := strconv.Atoi(port)
	must(t, err)
	_, err = client.For[*corev1.Service](w).Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}}})
	must(t, err)
	_, err = client.For[*discoveryv1.EndpointSlice](w).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(int32(n))}},
		// The address of endpoints can't be a loopback one: Dial knows better.
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.2.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	})
	must(t, err)
}

// A webhook that is a Service is reached at an endpoint, and proves that it is that Service.
func TestServices(t *testing.T) {
	var mu sync.Mutex
	var dialed []string
	w := newWorld(t, func(c *webhook.Config, _ *apiserver.Config) { c.Dial = loopback(&mu, &dialed) })
	ca, err := pki.New("test")
	must(t, err)
	pair, err := ca.Server("hook.default.svc")
	must(t, err)
	w.hooks.TLS.Certificates = []tls.Certificate{pair.TLS}
	w.hooks.TLS.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair.TLS, nil }
	w.expose(t, "hook", true)
	w.expose(t, "idle", false)
	for name, want := range map[string]string{
		"hook": "",
		"idle": `no endpoints available for service "idle"`,
		"none": `service "none" not found`,
	} {
		w.validating(t, name, admissionregistrationv1.WebhookClientConfig{CABundle: ca.CertificatePEM(),
			Service: &admissionregistrationv1.ServiceReference{Namespace: "default", Name: name, Path: ptr.To("/" + name)}})
		err := w.configMap(t, "for-"+name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		must(t, client.For[*admissionregistrationv1.ValidatingWebhookConfiguration](w).Delete(t.Context(), "", name, metav1.DeleteOptions{}))
	}
	asked := w.hooks.take()
	if len(asked) != 1 || asked[0].path != "/hook" || asked[0].timeout != "30s" || asked[0].agent != "kube-apiserver-admission" || asked[0].proto != "HTTP/1.1" {
		t.Errorf("%+v", asked)
	}
	if len(dialed) != 1 || !strings.HasPrefix(dialed[0], "10.1.2.3:") {
		t.Errorf("dialed %q", dialed)
	}
}

// Connections are kept; a webhook at this machine is spoken to by HTTP/2; one that goes takes them along.
func TestConnectionsAreKept(t *testing.T) {
	var mu sync.Mutex
	var dialed []string
	w := newWorld(t, func(c *webhook.Config, _ *apiserver.Config) { c.Dial = loopback(&mu, &dialed) })
	w.validating(t, "a", w.url("/a"))
	for i := range 20 {
		must(t, w.configMap(t, fmt.Sprint("c", i)))
	}
	asked := w.hooks.take()
	if len(asked) != 20 || asked[0].proto != "HTTP/2.0" || len(dialed) != 1 {
		t.Errorf("%d asked, by %s, over %q", len(asked), asked[0].proto, dialed)
	}
}

// One that hangs or panics hurts neither other webhooks nor other requests; a batch passes the same way.
func TestSlowWebhooks(t *testing.T) {
	w := newWorld(t)
	w.hooks.set("/slow", behaviour{Hang: true})
	w.validating(t, "slow", w.url("/slow"), func(h *admissionregistrationv1.ValidatingWebhook) {
		h.TimeoutSeconds, h.FailurePolicy = ptr.To[int32](1), ptr.To(admissionregistrationv1.Ignore)
		h.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"slow": "yes"}}
	})
	w.validating(t, "fast", w.url("/fast"))
	var wg sync.WaitGroup
	wg.Go(func() {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "slow", Namespace: "default", Labels: map[string]string{"slow": "yes"}}}
		if _, err := client.For[*corev1.ConfigMap](w).Create(t.Context(), cm); err != nil {
			t.Error(err)
		}
	})
	var batch [][]client.Write
	for i := range 10 {
		must(t, w.configMap(t, fmt.Sprint("c", i)))
		batch = append(batch, []client.Write{{Ref: client.Ref{GroupVersionResource: corev1.SchemeGroupVersion.WithResource("configmaps"), Namespace: "default"},
			Create: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("b", i), Namespace: "default"}}}})
	}
	for _, err := range w.Interface.(client.Batcher).Batch(t.Context(), batch) {
		must(t, err)
	}
	wg.Wait()
	asked := map[string]int{}
	for _, a := range w.hooks.take() {
		asked[a.path]++
	}
	if asked["/slow"] != 1 || asked["/fast"] != 21 {
		t.Errorf("%v", asked)
	}
}

// An answer without an end is cut off.
func TestEndlessAnswer(t *testing.T) {
	w := newWorld(t)
	w.hooks.set("/big", behaviour{Response: `{"kind":"` + strings.Repeat("x", 5<<20)})
	w.validating(t, "big", w.url("/big"))
	if err := w.configMap(t, "c"); err == nil || !strings.Contains(err.Error(), "larger than 4194304 bytes") {
		t.Error(err)
	}
}

// otherKind makes a webhook one about Secrets.
func otherKind(h *admissionregistrationv1.ValidatingWebhook) {
	h.Rules[0].Resources = []string{"secrets"}
}
