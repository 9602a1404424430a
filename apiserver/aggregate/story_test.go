package aggregate_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/aggregate"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/pki"
	"github.com/inboard/inboard/internal/apitest"
)

// patience bounds the wait for something that must happen.
const patience = 30 * time.Second

// world is an API server with an aggregation layer, and another server that it can pass requests on to.
type world struct {
	t       testing.TB
	api     *apitest.Server
	layer   *aggregate.Aggregator
	other   *extension
	ca, own *pki.Authority // of the other server's certificate, and of front proxies'
	vars    *strings.Replacer
}

func newWorld(t testing.TB, change ...func(*aggregate.Config, *apiserver.Config)) *world {
	t.Helper()
	w := &world{t: t, ca: ok(pki.New("extension")), own: ok(pki.New("front-proxy"))}
	w.other = newExtension(t, w.ca, w.own, "api.default.svc")
	w.vars = strings.NewReplacer("$CA", base64.StdEncoding.EncodeToString(w.ca.CertificatePEM()))
	proxy := ok(w.own.Client("front-proxy-client"))
	w.api = apitest.Open(t, func(cfg *apiserver.Config) {
		own := aggregate.Config{
			Store: cfg.Store, Certificate: func() (*tls.Certificate, error) { return &proxy.TLS, nil },
			Dial: w.dial, Refresh: 200 * time.Millisecond,
			Trust: aggregate.Trust{ClientCA: w.ca.CertificatePEM(), RequestHeader: &apiserver.RequestHeader{
				CA: w.own.CertificatePEM(), AllowedNames: []string{"front-proxy-client"}}},
		}
		cfg.Kinds = append(kinds.All(), aggregate.Kinds()...)
		cfg.Authentication.Tokens = map[string]apiserver.Identity{
			"admin": {User: "admin", Groups: []string{apiserver.GroupMasters}}, "nobody": {User: "nobody"},
			"ann": {User: "ann", UID: "u1", Groups: []string{apiserver.GroupMasters, "a b"}, Extra: map[string][]string{"example.com/key %": {"x", "y"}}},
		}
		for _, f := range change {
			f(&own, cfg)
		}
		w.layer = ok(aggregate.New(own))
		cfg.Aggregator = w.layer
	})
	t.Cleanup(func() { _ = w.layer.Close() })
	return w
}

// dial reaches the other server wherever the cluster says that it is.
func (w *world) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, w.other.Listener.Addr().String())
}

// TestStories runs the scripts in testdata. Commands:
//
//	create, update, status     + YAML of objects, where $CA is the other server's authority
//	delete RESOURCE NAME
//	await APISERVICE REASON    waits for the reason of the condition Available
//	gone APISERVICE            waits for it not to be there
//	table                      the table of APIServices with a Service
//	services                   the group versions of all APIServices, with the label
//	GET, POST, ... [as=TOKEN] [show=PATH,...] [HEADER=VALUE]  + path, and a body
//	other older|newer|broken|well
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := newWorld(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, err := w.run(ctx, d)
			if err != nil {
				out = "error: " + err.Error() + "\n"
			}
			return masked.ReplaceAllString(out, "<time>")
		})
	})
}

var masked = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

func (w *world) run(ctx context.Context, d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "create", "update", "status":
		return w.write(ctx, d)
	case "delete":
		return "", w.api.Admin().Delete(ctx, refOf(d.CmdArgs[0].Key, "default", d.CmdArgs[1].Key), metav1.DeleteOptions{})
	case "await":
		return w.await(ctx, d.CmdArgs[0].Key, d.CmdArgs[1].Key)
	case "gone":
		return "", w.gone(ctx, d.CmdArgs[0].Key)
	case "table":
		return w.table()
	case "services":
		return w.services(ctx)
	case "other":
		w.other.older.Store(d.CmdArgs[0].Key == "older")
		w.other.broken.Store(d.CmdArgs[0].Key == "broken")
		return "", nil
	}
	return w.request(d)
}

func refOf(resource, namespace, name string) client.Ref {
	for _, k := range append(kinds.All(), aggregate.Kinds()...) {
		if k.Resource == resource {
			if !k.Namespaced {
				namespace = ""
			}
			return client.Ref{GroupVersionResource: k.ResourceRef(), Namespace: namespace, Name: name}
		}
	}
	panic("no resource " + resource)
}

func (w *world) write(ctx context.Context, d *datadriven.TestData) (string, error) {
	c := w.api.Admin()
	var out strings.Builder
	for doc := range strings.SplitSeq(w.vars.Replace(d.Input), "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			return "", err
		}
		gvr, err := c.ResourceFor(u)
		if err != nil {
			return "", err
		}
		ref := client.Ref{GroupVersionResource: gvr, Namespace: u.GetNamespace()}
		if d.Cmd == "create" {
			_, err = c.Create(ctx, ref, u, metav1.CreateOptions{})
		} else {
			if ref.Name = u.GetName(); d.Cmd == "status" {
				ref.Subresource = "status"
			}
			_, err = c.Patch(ctx, ref, "application/merge-patch+json", ok(json.Marshal(u.Object)), metav1.PatchOptions{})
		}
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", u.GetName(), err)
		}
	}
	return out.String(), nil
}

// await waits for the condition Available of an APIService to have a reason, and returns it.
func (w *world) await(ctx context.Context, name, reason string) (string, error) {
	services := client.For[*apiregistrationv1.APIService](w.api.Admin())
	last := "not there"
	for {
		s, err := services.Get(ctx, "", name)
		if err == nil && len(s.Status.Conditions) > 0 {
			c := s.Status.Conditions[0]
			if last = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); c.Reason == reason {
				return regexp.MustCompile(`\d+\.\d+\.\d+\.\d+:\d+`).ReplaceAllString(last, "HOST") + "\n", nil
			}
		}
		select {
		case <-ctx.Done():
			return "", errors.New("it never comes; last: " + last)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (w *world) gone(ctx context.Context, name string) error {
	services := client.For[*apiregistrationv1.APIService](w.api.Admin())
	for {
		if _, err := services.Get(ctx, "", name); err != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("it stays")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (w *world) table() (string, error) {
	r := httptest.NewRequest(http.MethodGet, "/apis/apiregistration.k8s.io/v1/apiservices", http.NoBody)
	r.Header.Set("Authorization", "Bearer admin")
	r.Header.Set("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	rec := httptest.NewRecorder()
	w.api.API.ServeHTTP(rec, r)
	var t metav1.Table
	if err := json.Unmarshal(rec.Body.Bytes(), &t); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, c := range t.ColumnDefinitions {
		fmt.Fprintf(&out, "%s ", c.Name)
	}
	out.WriteString("\n")
	for _, row := range t.Rows {
		if row.Cells[1] != "Local" {
			fmt.Fprintln(&out, row.Cells[:3]...)
		}
	}
	return out.String(), nil
}

func (w *world) services(ctx context.Context) (string, error) {
	list, err := client.For[*apiregistrationv1.APIService](w.api.Admin()).List(ctx, "", metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, s := range list.Items {
		fmt.Fprintf(&out, "%s %d %d %s\n", s.Name, s.Spec.GroupPriorityMinimum, s.Spec.VersionPriority, s.Labels["kube-aggregator.kubernetes.io/automanaged"])
	}
	return out.String(), nil
}

// request sends a request and shows the answer.
func (w *world) request(d *datadriven.TestData) (string, error) {
	path, body, _ := strings.Cut(d.Input, "\n")
	r := httptest.NewRequest(d.Cmd, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer admin")
	var show []string
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "as":
			r.Header.Set("Authorization", "Bearer "+a.Vals[0])
		case "show":
			show = strings.Split(strings.Join(a.Vals, ","), ",")
		default:
			r.Header.Set(a.Key, strings.Join(a.Vals, ","))
		}
	}
	rec := httptest.NewRecorder()
	w.api.API.ServeHTTP(rec, r)
	out := fmt.Sprintf("%d %s\n", rec.Code, rec.Header().Get("Content-Type"))
	var doc map[string]any
	if json.Unmarshal(rec.Body.Bytes(), &doc) != nil {
		return out + rec.Body.String(), nil
	}
	if doc["kind"] == "Status" {
		return out + fmt.Sprintf("%v: %v\n", doc["reason"], doc["message"]), nil
	}
	if len(show) == 0 {
		return out + string(ok(yaml.Marshal(doc))), nil
	}
	for _, path := range show {
		out += fmt.Sprintf("%s=%s\n", path, ok(json.Marshal(dig(doc, strings.Split(path, "/")))))
	}
	return out, nil
}

// dig returns what is at a path: "*" is each element of a list, "NAME~VALUE" the one whose field has a value.
func dig(v any, path []string) any {
	if len(path) == 0 {
		return v
	}
	switch x := v.(type) {
	case map[string]any:
		return dig(x[strings.ReplaceAll(path[0], "~1", "/")], path[1:])
	case []any:
		if i, err := strconv.Atoi(path[0]); err == nil && i < len(x) {
			return dig(x[i], path[1:])
		}
		var all []any
		name, value, one := strings.Cut(path[0], "~")
		for _, item := range x {
			if path[0] == "*" {
				all = append(all, dig(item, path[1:]))
			} else if m, _ := item.(map[string]any); one && fmt.Sprint(dig(m, strings.Split(name, "."))) == value {
				return dig(m, path[1:])
			}
		}
		return all
	}
	return nil
}
