package webhook_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/webhook"
)

// The stories are told in process and over HTTPS, and must read the same.
func TestStories(t *testing.T) {
	for _, way := range []string{"in-process", "https"} {
		t.Run(way, func(t *testing.T) {
			datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
				w := newWorld(t)
				if way == "https" {
					over, err := rest.New(rest.Config{Kubeconfig: w.Serve(t, "admin", apiserver.GroupMasters)})
					must(t, err)
					t.Cleanup(func() { _ = over.Close() })
					w.Interface = over
				}
				s := &story{t: t, w: w}
				datadriven.RunTest(t, path, s.run)
			})
		})
	}
}

// story runs one script. Commands:
//
//	hook PATH                 what the webhook at a path does from now on (see behaviour)
//	create, update [dry-run]  an object; update takes what is stored and puts what is given over it
//	patch KIND NAME           a merge patch
//	delete KIND NAME, delete-all KIND
//	get KIND NAME
//
// sub=NAME is a subresource, fields=A,B.C are shown of what is answered.
type story struct {
	t *testing.T
	w *world
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	if d.Cmd == "hook" {
		var b behaviour
		must(t, yaml.UnmarshalStrict([]byte(d.Input), &b))
		s.w.hooks.set(d.CmdArgs[0].Key, b)
		return ""
	}
	out, err := s.send(t, d)
	return s.blur(s.outcome(d, out, err))
}

// outcome tells what webhooks were asked, and what the client got.
func (s *story) outcome(d *datadriven.TestData, out runtime.Object, err error) string {
	var text strings.Builder
	for _, a := range s.w.hooks.take() {
		fmt.Fprintf(&text, "%s: %s\n", a.path, told(&a))
	}
	if err != nil {
		var status *apierrors.StatusError
		if !errors.As(err, &status) {
			return text.String() + err.Error() + "\n"
		}
		fmt.Fprintf(&text, "%d %s: %s\n", status.ErrStatus.Code, status.ErrStatus.Reason, status.ErrStatus.Message)
		if details := status.ErrStatus.Details; details != nil && len(details.Causes) > 1 {
			for _, c := range details.Causes {
				fmt.Fprintf(&text, "- %s %s: %s\n", c.Type, c.Field, c.Message)
			}
		}
		return text.String()
	}
	text.WriteString(s.shown(d, out))
	return text.String()
}

// blur takes out of messages what is different each time.
func (s *story) blur(message string) string {
	message = strings.ReplaceAll(message, strings.TrimPrefix(s.w.hooks.URL, "https://"), "HOST")
	return volatile.ReplaceAllString(message, "~")
}

var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|\bg-[a-z0-9]{5}\b|"caBundle":"[^"]*"`)

// told sums a review up.
func told(a *asked) string {
	r := a.review.Request
	out := []string{string(r.Operation), r.Resource.Version + "/" + r.Resource.Resource}
	if r.SubResource != "" {
		out[1] += "/" + r.SubResource
	}
	out = append(out, r.Kind.Kind)
	if *r.RequestResource != r.Resource || *r.RequestKind != r.Kind {
		out = append(out, fmt.Sprintf("(asked %s %s)", r.RequestResource.Version+"/"+r.RequestResource.Resource, r.RequestKind.Kind))
	}
	out = append(out, fmt.Sprintf("%s/%s", r.Namespace, r.Name))
	for name, raw := range map[string]runtime.RawExtension{"object": r.Object, "old": r.OldObject, "options": r.Options} {
		if text := string(raw.Raw); text != "" && text != "null" {
			var m metav1.PartialObjectMetadata
			if json.Unmarshal(raw.Raw, &m) == nil {
				text = m.APIVersion + " " + m.Kind
			}
			out = append(out, name+"="+text)
		}
	}
	slices.Sort(out[4:])
	if *r.DryRun {
		out = append(out, "dry-run")
	}
	return strings.Join(out, " ")
}

// refOf returns where objects of a kind are; those that have one are in the namespace "default".
func refOf(t *testing.T, kind, name string) client.Ref {
	t.Helper()
	for _, k := range append(kinds.All(), webhook.Kinds()...) {
		for _, v := range append([]apiserver.Version{{GroupVersionKind: k.GroupVersionKind}}, k.Versions...) {
			if v.GroupVersionKind.Kind != kind && v.GroupVersionKind.Kind+"."+v.Version != kind {
				continue
			}
			ref := client.Ref{GroupVersionResource: v.GroupVersion().WithResource(k.Resource), Name: name}
			if k.Namespaced {
				ref.Namespace = "default"
			}
			return ref
		}
	}
	t.Fatalf("no kind %s", kind)
	return client.Ref{}
}

func arg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

// object reads the object of a command. Webhooks that say nothing of it have no side effects and are in this server.
func (s *story) object(t *testing.T, d *datadriven.TestData) *unstructured.Unstructured {
	var u unstructured.Unstructured
	must(t, yaml.Unmarshal(bytes.ReplaceAll([]byte(d.Input), []byte("URL"), []byte(s.w.hooks.URL)), &u.Object))
	list, _ := u.Object["webhooks"].([]any)
	for _, h := range list {
		h := h.(map[string]any)
		if c, ok := h["clientConfig"].(map[string]any); ok && c["caBundle"] == nil {
			fillIn(c, "caBundle", s.w.hooks.ca())
		}
		fillIn(h, "sideEffects", "None")
		fillIn(h, "admissionReviewVersions", []any{"v1"})
	}
	return &u
}

func (s *story) send(t *testing.T, d *datadriven.TestData) (runtime.Object, error) {
	var dryRun []string
	if d.HasArg("dry-run") {
		dryRun = []string{metav1.DryRunAll}
	}
	ctx := t.Context()
	switch d.Cmd {
	case "create", "update":
		u := s.object(t, d)
		kind := u.GetKind()
		if of := arg(d, "of"); of != "" {
			kind = of
		}
		name := u.GetName()
		ref := refOf(t, kind, name)
		ref.Subresource = arg(d, "sub")
		if ns := arg(d, "namespace"); ns != "" {
			ref.Namespace = ns
		}
		if d.Cmd == "update" {
			at := ref
			at.Subresource = ""
			if ref.Subresource == "scale" {
				at = ref
			}
			stored, err := s.w.Get(ctx, at, metav1.GetOptions{})
			must(t, err)
			m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(stored)
			must(t, err)
			for k, v := range u.Object {
				if k != "metadata" {
					m[k] = v
				}
			}
			return s.w.Update(ctx, ref, &unstructured.Unstructured{Object: m}, metav1.UpdateOptions{DryRun: dryRun})
		}
		if ref.Subresource == "" {
			ref.Name = ""
		}
		return s.w.Create(ctx, ref, u, metav1.CreateOptions{DryRun: dryRun, FieldManager: "story"})
	case "patch":
		ref := refOf(t, d.CmdArgs[0].Key, d.CmdArgs[1].Key)
		ref.Subresource = arg(d, "sub")
		patch, err := yaml.YAMLToJSON([]byte(d.Input))
		must(t, err)
		return s.w.Patch(ctx, ref, types.MergePatchType, patch, metav1.PatchOptions{DryRun: dryRun, FieldManager: "story"})
	case "get":
		return s.w.Get(ctx, refOf(t, d.CmdArgs[0].Key, d.CmdArgs[1].Key), metav1.GetOptions{})
	case "delete":
		return nil, s.w.Delete(ctx, refOf(t, d.CmdArgs[0].Key, d.CmdArgs[1].Key), metav1.DeleteOptions{DryRun: dryRun})
	}
	t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	return nil, nil
}

// shown returns the fields that a command asks for of what was answered.
func (s *story) shown(d *datadriven.TestData, out runtime.Object) string {
	if out == nil {
		return "done\n"
	}
	raw, err := json.Marshal(out)
	must(s.t, err)
	var m map[string]any
	must(s.t, json.Unmarshal(raw, &m))
	_, text, _ := strings.Cut(fmt.Sprintf("%T", out), ".")
	if kind, ok := m["kind"].(string); ok {
		text = kind
	}
	for _, a := range d.CmdArgs {
		if a.Key != "fields" {
			continue
		}
		for _, path := range a.Vals {
			v, _, err := unstructured.NestedFieldNoCopy(m, strings.Split(path, ".")...)
			must(s.t, err)
			b, err := json.Marshal(v)
			must(s.t, err)
			text += " " + path + "=" + string(b)
		}
	}
	return text + "\n"
}
