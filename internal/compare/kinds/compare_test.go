package kinds

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/internal/compare/known"
)

var (
	runs = flag.Int("runs", 1500, "objects of each kind")
	seed = flag.Uint64("seed", 1, "seed of the random objects")
	only = flag.String("kinds", "", "compare only kinds whose name this pattern matches")
)

func TestMain(m *testing.M) {
	allowPrivileged()
	// PodGroups, and the pods' field that names them, are served here without a gate.
	if err := utilfeature.DefaultMutableFeatureGate.Set("GenericWorkload=true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// finding is one way in which the two sides differ.
type finding struct {
	n       int
	example string
}

type findings map[string]*finding

func (f findings) add(kind, what, example string) {
	key := kind + ": " + what
	if f[key] == nil {
		f[key] = &finding{example: example}
	}
	f[key].n++
}

func TestSameAsKubernetes(t *testing.T) {
	understood := known.Read(t, "testdata/known.txt")
	found := findings{}
	chosen := regexp.MustCompile(*only)
	for _, k := range kinds.All() {
		if !chosen.MatchString(k.Kind) || k.Review != nil {
			continue
		}
		c := &comparison{kind: k, found: found, theirs: theirs{k.GroupVersionKind}}
		for i := range *runs {
			c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
			c.one(t)
		}
		t.Logf("%s: %d objects, %d of them accepted, %d updates, %d panics of Kubernetes", k.Kind, *runs, c.accepted, c.updates, c.panics)
	}
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return found[keys[i]].n > found[keys[j]].n })
	for _, k := range keys {
		if !understood.Has(k) {
			t.Errorf("%d times: %s\n    such as %s", found[k].n, k, found[k].example)
		}
	}
}

type comparison struct {
	*rand.Rand
	kind              apiserver.Kind
	theirs            theirs
	found             findings
	accepted, updates int
	// panics counts what Kubernetes' own code panics about, where its server answers 500: an indexed
	// Job with a successPolicy and without completions, for one.
	panics int
}

func (c *comparison) one(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			if stack := debug.Stack(); !bytes.Contains(stack, []byte("k8s.io/kubernetes/pkg/apis/")) &&
				!bytes.Contains(stack, []byte("k8s.io/kubernetes/pkg/printers/")) {
				panic(p)
			}
			c.panics++
		}
	}()
	obj := c.sample(t)
	mutator{c.Rand}.mutate(obj, c.IntN(4))
	ours, other := copyOf(obj), copyOf(obj)
	if c.kind.Default != nil {
		c.kind.Default(ours)
	}
	c.theirs.setDefaults(other)
	sameMoment(ours, other)
	if d := firstDifference(ours, other); d != "" {
		c.found.add(c.kind.Kind, "default "+where(d), d)
		return
	}
	c.row(t, ours)
	errs := c.create(t, ours)
	if len(errs) > 0 {
		return
	}
	c.accepted++
	c.status(t, ours)
	c.fields(t, ours)
	c.update(t, ours)
}

// create compares the making of a defaulted object; it changes obj as storage has it.
func (c *comparison) create(t *testing.T, obj client.Object) field.ErrorList {
	stored, theirErrs, err := c.theirs.create(c.linked(obj, nil))
	if err != nil {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	before := text(obj)
	if !c.kind.KeepStatus && c.kind.Status {
		reflect.ValueOf(obj).Elem().FieldByName("Status").SetZero()
	}
	if c.kind.Prepare != nil {
		c.kind.Prepare(obj, nil)
	}
	var errs field.ErrorList
	if c.kind.Validate != nil {
		errs = c.kind.Validate(obj, nil)
	}
	c.report("create", errs, theirErrs, before)
	if len(errs) == 0 {
		c.warnings(t, "create", strategies[c.kind.Kind], c.kind.Warnings, obj, nil)
	}
	if d := firstDifference(withoutMeta(obj), withoutMeta(stored.(client.Object))); d != "" {
		c.found.add(c.kind.Kind, "prepare "+where(d), d)
	}
	return errs
}

// linked does what Kubernetes does for Services between preparation and validation, in the storage
// layer, where it can't be called: here preparation does it.
func (c *comparison) linked(obj, old client.Object) client.Object {
	if c.kind.Kind != "Service" {
		return obj
	}
	obj = copyOf(obj)
	c.kind.Prepare(obj, old)
	return obj
}

// where keeps the place of a difference and leaves out the values.
func where(d string) string {
	place, what, _ := strings.Cut(d, ": ")
	switch {
	case strings.HasPrefix(what, "missing"):
		what = "missing"
	case strings.HasSuffix(what, "Kubernetes has none"):
		what = "not in Kubernetes"
	default:
		what = "other value"
	}
	return general(place) + " " + what
}

func (c *comparison) update(t *testing.T, old client.Object) {
	old.SetResourceVersion("1")
	obj := copyOf(old)
	mutator{c.Rand}.mutate(obj, 1+c.IntN(2))
	if c.kind.Default != nil {
		c.kind.Default(obj)
	}
	stored, theirErrs, err := c.theirs.update(c.linked(obj, old), old)
	if err != nil {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	c.updates++
	before := text(obj) + "\nfrom\n" + text(old)
	if c.kind.Status {
		now, was := reflect.ValueOf(obj).Elem(), reflect.ValueOf(copyOf(old)).Elem()
		now.FieldByName("Status").Set(was.FieldByName("Status"))
	}
	if c.kind.Prepare != nil {
		c.kind.Prepare(obj, old)
	}
	var errs field.ErrorList
	if c.kind.Validate != nil {
		errs = c.kind.Validate(obj, old)
	}
	c.report("update", errs, theirErrs, before)
	if len(errs) > 0 {
		return
	}
	if c.kind.Generation && !reflect.DeepEqual(withoutMeta(obj), withoutMeta(old)) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
	c.warnings(t, "update", strategies[c.kind.Kind], c.kind.Warnings, obj, old)
	if d := firstDifference(withoutMeta(obj), withoutMeta(stored.(client.Object))); d != "" {
		c.found.add(c.kind.Kind, "prepare update "+where(d), d)
	}
}

// status compares a write to the status of a stored object.
func (c *comparison) status(t *testing.T, old client.Object) {
	s, ok := statusStrategies[c.kind.Kind]
	if !ok {
		return
	}
	old.SetResourceVersion("1")
	obj := copyOf(old)
	status := reflect.ValueOf(obj).Elem().FieldByName("Status").Addr()
	mutator{c.Rand}.mutate(status.Interface(), 1+c.IntN(3))
	setDefaults(c.kind, obj)
	theirErrs, err := c.theirs.status(s, obj, old)
	if err != nil {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	before := text(obj)
	if c.kind.PrepareStatus != nil {
		c.kind.PrepareStatus(obj, old)
	}
	var errs field.ErrorList
	if c.kind.ValidateStatus != nil {
		errs = c.kind.ValidateStatus(obj, old)
	}
	c.report("status", errs, theirErrs, before)
	if len(errs) == 0 {
		c.warnings(t, "status", s, c.kind.StatusWarnings, obj, old)
	}
}

// warnings compares what the client is told of an object that is accepted.
func (c *comparison) warnings(t *testing.T, what string, strategy any, about func(obj, old client.Object) []string, obj, old client.Object) {
	want, err := c.theirs.warnings(strategy, obj, old)
	if err != nil {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	var own []string
	if about != nil {
		own = about(obj, old)
	}
	for _, side := range []struct {
		sign         string
		these, those []string
	}{{"-", want, own}, {"+", own, want}} {
		for _, text := range side.these {
			if !slices.Contains(side.those, text) {
				c.found.add(c.kind.Kind, what+" warning "+side.sign+general(text), text+"\n"+both(obj, old))
			}
		}
	}
}

func both(obj, old client.Object) string {
	if old == nil {
		return text(obj)
	}
	return text(obj) + "\nfrom\n" + text(old)
}

func setDefaults(k apiserver.Kind, obj client.Object) {
	if k.Default != nil {
		k.Default(obj)
	}
}

// fields compares what field selectors can name.
func (c *comparison) fields(t *testing.T, obj client.Object) {
	attributes, ok := attributesOf[c.kind.Kind]
	if !ok {
		return
	}
	want, err := c.theirs.fields(attributes, obj)
	if err != nil {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	for name, v := range want {
		if name == "metadata.name" || name == "metadata.namespace" {
			continue
		}
		if f := c.kind.Fields[name]; f == nil {
			c.found.add(c.kind.Kind, "field "+name+" missing", name)
		} else if own := f(obj); own != v {
			c.found.add(c.kind.Kind, "field "+name, fmt.Sprintf("%q, Kubernetes %q", own, v))
		}
	}
	for name := range c.kind.Fields {
		if _, ok := want[name]; !ok {
			c.found.add(c.kind.Kind, "field "+name+" not in Kubernetes", name)
		}
	}
}

// row compares the lines that kubectl get prints.
func (c *comparison) row(t *testing.T, obj client.Object) {
	if obj = copyOf(obj); c.IntN(3) == 0 {
		now := metav1.Now()
		obj.SetDeletionTimestamp(&now)
	}
	table, err := c.theirs.table(obj)
	if err != nil || len(table.Rows) != 1 {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	cells := c.kind.Row(obj, time.Now())
	if len(cells) != len(c.kind.Columns) || len(cells) != len(table.Rows[0].Cells) {
		t.Fatalf("%s: %d cells, %d columns, Kubernetes %d", c.kind.Kind, len(cells), len(c.kind.Columns), len(table.Rows[0].Cells))
	}
	for i, col := range table.ColumnDefinitions {
		own := c.kind.Columns[i]
		if own.Name != col.Name || own.Type != col.Type || own.Format != col.Format || own.Priority != col.Priority {
			c.found.add(c.kind.Kind, "column "+col.Name, fmt.Sprintf("%+v, Kubernetes %+v", own, col))
		}
		if a, b := fmt.Sprint(cells[i]), fmt.Sprint(table.Rows[0].Cells[i]); a != b {
			c.found.add(c.kind.Kind, "cell "+col.Name, fmt.Sprintf("%q, Kubernetes %q\n%s", a, b, text(obj)))
		}
	}
}

func (c *comparison) report(what string, ours, theirs field.ErrorList, object string) {
	for _, line := range difference(ours, theirs) {
		c.found.add(c.kind.Kind, what+" "+general(line), fmt.Sprintf("%s\n%s", line, object))
	}
}

func text(obj any) string {
	out, err := yaml.Marshal(obj)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func copyOf(obj client.Object) client.Object { return obj.DeepCopyObject().(client.Object) }

// withoutMeta leaves out what the server itself takes care of.
func withoutMeta(obj client.Object) client.Object {
	c := copyOf(obj)
	meta := reflect.ValueOf(c).Elem().FieldByName("ObjectMeta").Addr().Interface().(*metav1.ObjectMeta)
	meta.Generation, meta.ResourceVersion = 0, ""
	if p, ok := c.(*corev1.Pod); ok {
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].LastTransitionTime = metav1.Time{}
		}
	}
	if v, ok := c.(*corev1.PersistentVolume); ok {
		v.Status.LastPhaseTransitionTime = nil
	}
	c.GetObjectKind().SetGroupVersionKind(c.GetObjectKind().GroupVersionKind().GroupVersion().WithKind(""))
	reflect.ValueOf(c).Elem().FieldByName("TypeMeta").SetZero()
	return c
}

// sample returns one of the checked-in objects of the kind.
func (c *comparison) sample(t *testing.T) client.Object {
	raw, err := os.ReadFile("testdata/" + strings.ToLower(c.kind.Kind) + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs := strings.Split(string(raw), "\n---\n")
	obj := reflect.New(reflect.TypeOf(c.kind.Object).Elem()).Interface().(client.Object)
	if err := yaml.UnmarshalStrict([]byte(docs[c.IntN(len(docs))]), obj); err != nil {
		t.Fatalf("%s: %v", c.kind.Kind, err)
	}
	return obj
}

// sameMoment makes taints that are new begin at the same moment: both sides note their own.
func sameMoment(ours, other client.Object) {
	begin := func(a, b *resourcev1.DeviceTaint) {
		if a.TimeAdded != nil && b.TimeAdded != nil && a.TimeAdded.Sub(b.TimeAdded.Time).Abs() < time.Minute {
			a.TimeAdded = b.TimeAdded
		}
	}
	switch a := ours.(type) {
	case *resourcev1.DeviceTaintRule:
		begin(&a.Spec.Taint, &other.(*resourcev1.DeviceTaintRule).Spec.Taint)
	case *resourcev1.ResourceSlice:
		for i := range a.Spec.Devices {
			for j := range a.Spec.Devices[i].Taints {
				begin(&a.Spec.Devices[i].Taints[j], &other.(*resourcev1.ResourceSlice).Spec.Devices[i].Taints[j])
			}
		}
	}
}
