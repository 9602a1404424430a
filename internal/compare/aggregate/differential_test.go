package aggregate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/internal/compare/kube"
)

// side is one of the two servers.
type side struct {
	url string
	hc  *http.Client
}

func sideOf(t *testing.T, cfg *rest.Config) side {
	t.Helper()
	return side{cfg.Host, must(rest.HTTPClientFor(cfg))}
}

const services = "/apis/apiregistration.k8s.io/v1/apiservices"

// send sends a request and tells of the answer: the status, and what is wrong or the object.
func (s side) send(method, path string, body any) string {
	text := must(json.Marshal(body))
	r := must(http.NewRequest(method, s.url+path, bytes.NewReader(text)))
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp := must(s.hc.Do(r))
	defer resp.Body.Close()
	raw := must(io.ReadAll(resp.Body))
	var status metav1.Status
	if json.Unmarshal(raw, &status) == nil && status.Kind == "Status" && status.Status == metav1.StatusFailure {
		out := []string{}
		if status.Details != nil {
			for _, c := range status.Details.Causes {
				out = append(out, fmt.Sprintf("%s %s: %s", c.Type, c.Field, c.Message))
			}
		}
		slices.Sort(out)
		return fmt.Sprintf("%d %s %s", resp.StatusCode, status.Reason, strings.Join(slices.Compact(out), "\n"))
	}
	var obj map[string]any
	_ = json.Unmarshal(raw, &obj)
	if details, _ := obj["details"].(map[string]any); details != nil {
		delete(details, "uid")
	}
	m, _ := obj["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields"} {
		delete(m, field)
	}
	if status, _ := obj["status"].(map[string]any); status != nil {
		if conditions, _ := status["conditions"].([]any); len(conditions) > 0 {
			if c, _ := conditions[0].(map[string]any); c["reason"] == "Local" {
				delete(c, "lastTransitionTime")
			}
		}
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, must(json.Marshal(obj)))
}

// service makes a random APIService, good or bad.
func service(r *rand.Rand) map[string]any {
	// The first one is good, and three times in four taken.
	pick := func(of ...any) any {
		if r.IntN(4) > 0 {
			return of[0]
		}
		return of[r.IntN(len(of))]
	}
	group := pick("a.example.com", "b.example.com", "", "A_b", "x..y")
	version := pick("v1", "v2beta1", "v1alpha1", "1", "", "V1")
	spec := map[string]any{"group": group, "version": version,
		"groupPriorityMinimum": pick(1000, 20000, 20001, 0, -1), "versionPriority": pick(100, 1000, 1001, 0, -5)}
	if r.IntN(3) > 0 {
		ref := map[string]any{"namespace": pick("default", ""), "name": pick("api", "")}
		if r.IntN(2) > 0 {
			ref["port"] = pick(443, 8443, 0, 70000, -1)
		}
		spec["service"] = ref
	}
	if r.IntN(3) == 0 {
		spec["insecureSkipTLSVerify"] = pick(false, true)
	}
	if r.IntN(6) == 0 {
		spec["caBundle"] = pick("YQ==", "")
	}
	name := fmt.Sprintf("%v.%v", version, group)
	if r.IntN(6) == 0 {
		name = fmt.Sprint(pick("other", "", "a/b", "v1.", "v9.a.example.com"))
	}
	meta := map[string]any{"name": name}
	if r.IntN(8) == 0 {
		meta["labels"] = map[string]any{"a": pick("b", "not valid!")}
	}
	return map[string]any{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": meta, "spec": spec}
}

// TestSameAsKubernetes sends random APIServices, and changes of them and of their status, to a kube-apiserver and to this
// one, as dry runs: what controllers make of them later is no matter.
func TestSameAsKubernetes(t *testing.T) {
	theirs := sideOf(t, kube.Start(t))
	w := newWorld(t, "127.0.0.1:1")
	ours := sideOf(t, must(clientcmd.BuildConfigFromFlags("", w.kubeconfig)))
	r := rand.New(rand.NewPCG(1, 2))
	codes := map[string]int{}
	compare := func(method, path string, body any) {
		t.Helper()
		a, b := ours.send(method, path, body), theirs.send(method, path, body)
		codes[method+" "+a[:3]]++
		if a != b {
			t.Errorf("%s %s %s\nours:   %s\ntheirs: %s", method, path, must(json.Marshal(body)), a, b)
		}
	}
	for range 400 {
		if compare(http.MethodPost, services+"?dryRun=All", service(r)); t.Failed() && codes["POST 422"] > 50 {
			t.FailNow() // enough is known
		}
	}
	good := map[string]any{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1.a.example.com"},
		"spec": map[string]any{"group": "a.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}}
	compare(http.MethodPost, services, good)
	one := services + "/v1.a.example.com"
	for range 200 {
		compare(http.MethodPatch, one+"?dryRun=All", map[string]any{"spec": service(r)["spec"]})
	}
	for _, status := range []string{"True", "False", "Unknown", "", "Maybe"} {
		compare(http.MethodPatch, one+"/status?dryRun=All", map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"a": "b"}, "annotations": map[string]any{"c": "d"}}, "spec": map[string]any{"versionPriority": 7},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": status}}}})
	}
	compare(http.MethodPut, one, good) // without a resourceVersion
	compare(http.MethodDelete, one, map[string]any{})
	t.Logf("requests by answer: %v", codes)
}
