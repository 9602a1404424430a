package apiserver_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/kinds"
)

// The stories are told twice, in process and over HTTPS, and must read the same.
func TestStories(t *testing.T) {
	for _, way := range []string{"in-process", "https"} {
		t.Run(way, func(t *testing.T) {
			datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
				server := newServer(t)
				runServer(t, server)
				var c client.Interface = server.Client(admin)
				if way == "https" {
					over, err := rest.New(rest.Config{REST: serveTLS(t, server)})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = over.Close() })
					c = over
				}
				s := &story{t: t, c: c, watches: map[string]watch.Interface{}, versions: map[string]string{}}
				datadriven.RunTest(t, path, s.run)
				for _, w := range s.watches {
					w.Stop()
				}
			})
		})
	}
}

// story runs one script. Commands:
//
//	create RESOURCE[/NAME/SUBRESOURCE] [dry-run]   + YAML
//	update RESOURCE[/NAME[/SUBRESOURCE]] [version=NAME] + YAML
//	patch  RESOURCE/NAME[/SUBRESOURCE] type=merge|json|strategic|apply [force]  + patch
//	get    RESOURCE/NAME[/SUBRESOURCE]
//	list   RESOURCE [labels=..] [fields=..] [limit=N]
//	delete RESOURCE/NAME [grace=N] [policy=P] [dry-run]
//	watch  ID RESOURCE [labels=..] [fields=..]
//	events ID N
//	remember NAME RESOURCE/NAME  (its resourceVersion)
//
// All take ns=NS ("default"; "-" for none) and show=PATH,PATH, the fields to print; "managers" prints
// who manages what. Writes take manager=NAME, the field manager ("teller").
type story struct {
	t        *testing.T
	c        client.Interface
	watches  map[string]watch.Interface
	versions map[string]string
}

type step struct {
	*datadriven.TestData
	ref  client.Ref
	args map[string]string
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st := &step{TestData: d, args: map[string]string{"ns": "default"}}
	var words []string
	for _, a := range d.CmdArgs {
		if a.Vals == nil {
			words = append(words, a.Key)
			continue
		}
		st.args[a.Key] = strings.Join(a.Vals, ",")
	}
	switch d.Cmd {
	case "watch", "events", "remember":
		return s.extra(ctx, st, words)
	}
	st.ref = s.ref(words[0], st.args["ns"])
	dry := []string(nil)
	if slices.Contains(words, "dry-run") {
		dry = []string{metav1.DryRunAll}
	}
	return s.verb(ctx, st, dry)
}

func (s *story) ref(path, ns string) client.Ref {
	parts := strings.Split(path, "/")
	ref := client.Ref{Namespace: ns}
	for _, k := range kinds.All() {
		if k.Resource == parts[0] {
			ref.GroupVersionResource = k.ResourceRef()
			if !k.Namespaced {
				ref.Namespace = ""
			}
		}
	}
	if ref.Resource == "" {
		ref.GroupVersionResource = schema.GroupVersionResource{Version: "v1", Resource: parts[0]}
	}
	if ref.Namespace == "-" {
		ref.Namespace = ""
	}
	if len(parts) > 1 {
		ref.Name = parts[1]
	}
	if len(parts) > 2 {
		ref.Subresource = parts[2]
	}
	return ref
}

func (s *story) verb(ctx context.Context, st *step, dry []string) string {
	var out runtime.Object
	var err error
	manager := cmp.Or(st.args["manager"], "teller")
	switch st.Cmd {
	case "create":
		out, err = s.c.Create(ctx, st.ref, s.body(st), metav1.CreateOptions{DryRun: dry, FieldManager: manager})
	case "update":
		out, err = s.c.Update(ctx, st.ref, s.body(st), metav1.UpdateOptions{DryRun: dry, FieldManager: manager})
	case "patch":
		pt := map[string]types.PatchType{
			"merge": types.MergePatchType, "json": types.JSONPatchType, "strategic": types.StrategicMergePatchType,
			"apply": types.ApplyYAMLPatchType,
		}[st.args["type"]]
		out, err = s.c.Patch(ctx, st.ref, pt, []byte(st.Input), patchOptions(st, dry, manager))
	case "get":
		out, err = s.c.Get(ctx, st.ref, metav1.GetOptions{})
	case "delete":
		if err = s.c.Delete(ctx, st.ref, deleteOptions(st, dry)); err == nil {
			return "ok"
		}
	case "list":
		return s.list(ctx, st)
	default:
		return "unknown command"
	}
	if err != nil {
		return tell(err)
	}
	return show(out, st.args["show"])
}

func patchOptions(st *step, dry []string, manager string) metav1.PatchOptions {
	opts := metav1.PatchOptions{DryRun: dry, FieldManager: manager, FieldValidation: st.args["validation"]}
	for _, a := range st.CmdArgs {
		if a.Key == "force" {
			opts.Force = ptr.To(true)
		}
	}
	return opts
}

func deleteOptions(st *step, dry []string) metav1.DeleteOptions {
	opts := metav1.DeleteOptions{DryRun: dry}
	if g, ok := st.args["grace"]; ok {
		n, _ := strconv.ParseInt(g, 10, 64)
		opts.GracePeriodSeconds = &n
	}
	if p, ok := st.args["policy"]; ok {
		policy := metav1.DeletionPropagation(p)
		opts.PropagationPolicy = &policy
	}
	return opts
}

// body reads the step's YAML as the object it is, with the version that was remembered.
func (s *story) body(st *step) runtime.Object {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(st.Input), &u.Object); err != nil {
		s.t.Fatalf("%s: %v", st.Pos, err)
	}
	if v := st.args["version"]; v != "" {
		u.SetResourceVersion(s.versions[v])
	}
	if u.GetNamespace() == "" && st.ref.Namespace != "" && st.args["ns"] != "-" {
		u.SetNamespace(st.ref.Namespace)
	}
	return u
}

func (s *story) list(ctx context.Context, st *step) string {
	opts := metav1.ListOptions{LabelSelector: st.args["labels"], FieldSelector: st.args["fields"]}
	opts.Limit, _ = strconv.ParseInt(st.args["limit"], 10, 64)
	var lines []string
	for {
		l, err := s.c.List(ctx, st.ref, opts)
		if err != nil {
			return tell(err)
		}
		line := make([]string, 0, len(l.Items))
		for _, o := range l.Items {
			line = append(line, o.(client.Object).GetName())
		}
		text := strings.Join(line, " ")
		if l.RemainingItemCount != nil {
			text += fmt.Sprintf(" (%d more)", *l.RemainingItemCount)
		}
		lines = append(lines, text)
		if opts.Continue = l.Continue; l.Continue == "" {
			return strings.Join(lines, "\n")
		}
	}
}

func (s *story) extra(ctx context.Context, st *step, words []string) string {
	switch st.Cmd {
	case "remember":
		o, err := s.c.Get(ctx, s.ref(words[1], st.args["ns"]), metav1.GetOptions{})
		if err != nil {
			return tell(err)
		}
		s.versions[words[0]] = o.(client.Object).GetResourceVersion()
		return "ok"
	case "watch":
		w, err := s.c.Watch(s.t.Context(), s.ref(words[1], st.args["ns"]), metav1.ListOptions{
			LabelSelector: st.args["labels"], FieldSelector: st.args["fields"],
		})
		if err != nil {
			return tell(err)
		}
		s.watches[words[0]] = w
		return "ok"
	}
	n, _ := strconv.Atoi(words[1])
	var lines []string
	for range n {
		select {
		case ev, ok := <-s.watches[words[0]].ResultChan():
			if !ok {
				return "the watch ended"
			}
			line := string(ev.Type) + " " + ev.Object.(client.Object).GetName()
			if st.args["show"] != "" {
				line += " " + strings.ReplaceAll(show(ev.Object, st.args["show"]), "\n", ", ")
			}
			lines = append(lines, line)
		case <-ctx.Done():
			return strings.Join(append(lines, "no event came"), "\n")
		}
	}
	return strings.Join(lines, "\n")
}

var uids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

var ages = regexp.MustCompile(`\b\d+s\b`)

var times = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// scrub takes out what differs from run to run.
func scrub(text string) string {
	text = ages.ReplaceAllString(text, "AGE")
	return times.ReplaceAllString(uids.ReplaceAllString(text, "UID"), "TIME")
}

// tell says what an error of the API is.
func tell(err error) string {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		return "error: " + err.Error()
	}
	text := fmt.Sprintf("error %d %s: %s", s.Status().Code, s.Status().Reason, s.Status().Message)
	if apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) || apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		var causes []string // in no order
		for _, c := range s.Status().Details.Causes {
			causes = append(causes, strings.Replace(fmt.Sprintf("\n%s %s: %s", c.Type, c.Field, c.Message), " :", ":", 1))
		}
		sort.Strings(causes)
		text += strings.Join(causes, "")
	}
	return scrub(text)
}

// show prints some fields of an object, "ok" when none are asked for.
func show(obj runtime.Object, paths string) string {
	if paths == "" {
		return "ok"
	}
	b, err := json.Marshal(obj)
	if err != nil {
		return err.Error()
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		return err.Error()
	}
	var lines []string
	for _, path := range strings.Split(paths, ",") {
		if path == "managers" {
			lines = append(lines, showManagers(obj.(client.Object)))
			continue
		}
		lines = append(lines, path+"="+compact(dig(doc, strings.Split(path, "."))))
	}
	return strings.Join(lines, "\n")
}

func showManagers(obj client.Object) string {
	var lines []string
	for _, f := range obj.GetManagedFields() {
		who := f.Manager
		if f.Subresource != "" {
			who += "/" + f.Subresource
		}
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", f.Operation, who, f.APIVersion, f.FieldsV1.GetRawString()))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func dig(v any, path []string) any {
	for _, p := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

func compact(v any) string {
	if m, ok := v.(map[string]any); ok {
		var parts []string
		for k, e := range m {
			parts = append(parts, k+":"+compact(e))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, " ") + "}"
	}
	b, _ := json.Marshal(v)
	return strings.ReplaceAll(string(b), `"`, "")
}
