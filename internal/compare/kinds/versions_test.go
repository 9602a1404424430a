package kinds

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/internal/compare/known"
)

// What a client reads in one version of an object that another wrote in another is what Kubernetes'
// conversions make of it.
func TestVersionsAreConvertedAsInKubernetes(t *testing.T) {
	chosen, understood, found := regexp.MustCompile(*only), known.Read(t, "testdata/known.txt"), findings{}
	for _, k := range kinds.All() {
		for _, v := range k.Versions {
			if !chosen.MatchString(k.Kind) {
				continue
			}
			c := &comparison{kind: k, found: found}
			for i := range *runs {
				c.Rand = rand.New(rand.NewPCG(*seed, uint64(i)))
				c.convert(t, &v)
			}
		}
	}
	for what, f := range found {
		if !understood.Has(what) {
			t.Errorf("%d times: %s\n    such as %s", f.n, what, f.example)
		}
	}
}

func (c *comparison) convert(t *testing.T, v *apiserver.Version) {
	obj := c.sample(t)
	mutator{c.Rand}.mutate(obj, c.IntN(5))
	setDefaults(c.kind, obj)
	if c.kind.Prepare != nil {
		c.kind.Prepare(obj, nil)
	}
	if v.Validate != nil {
		c.validate(t, v, obj)
	}
	out := emptyOf(v.Object)
	if err := v.FromStorage(copyOf(obj), out); err != nil {
		t.Fatal(err)
	}
	c.same(v, "from storage", out, c.theirsAs(t, obj, v.GroupVersion()))
	mutator{c.Rand}.mutate(out, c.IntN(5))
	if v.Default != nil {
		v.Default(out)
	}
	back := emptyOf(c.kind.Object)
	if err := v.ToStorage(copyOf(out), back); err != nil {
		t.Fatal(err)
	}
	setDefaults(c.kind, back)
	theirs := c.theirsAs(t, out, c.kind.GroupVersion())
	legacyscheme.Scheme.Default(theirs)
	c.same(v, "to storage", back, theirs)
}

// validate compares the checks of requests in a version that has its own.
func (c *comparison) validate(t *testing.T, v *apiserver.Version, obj client.Object) {
	obj = copyOf(obj)
	obj.SetResourceVersion("1")
	changed := copyOf(obj)
	mutator{c.Rand}.mutate(changed, 1+c.IntN(2))
	asked, strategy := theirs{v.GroupVersionKind}, strategies[c.kind.Kind]
	hub := schema.GroupVersion{Group: c.kind.Group, Version: runtime.APIVersionInternal}
	in, next := c.convertTo(t, copyOf(obj), hub), c.convertTo(t, copyOf(changed), hub)
	ctx := asked.ctx("")
	c.report("create as "+v.GroupVersion().String(), v.Validate(obj, nil), strategy.Validate(ctx, in), text(obj))
	c.report("update as "+v.GroupVersion().String(), v.Validate(changed, obj), strategy.ValidateUpdate(ctx, next, in), text(changed)+"\nfrom\n"+text(obj))
}

func (c *comparison) theirsAs(t *testing.T, obj client.Object, gv schema.GroupVersion) runtime.Object {
	t.Helper()
	own := copyOf(obj)
	legacyscheme.Scheme.Default(own)
	in := c.convertTo(t, own, schema.GroupVersion{Group: c.kind.Group, Version: runtime.APIVersionInternal})
	return c.convertTo(t, in, gv)
}

func (c *comparison) convertTo(t *testing.T, in runtime.Object, gv schema.GroupVersion) runtime.Object {
	t.Helper()
	out, err := legacyscheme.Scheme.New(gv.WithKind(c.kind.Kind))
	if err != nil {
		t.Fatal(err)
	}
	if err := legacyscheme.Scheme.Convert(in, out, nil); err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *comparison) same(v *apiserver.Version, what string, ours client.Object, theirs runtime.Object) {
	theirs.GetObjectKind().SetGroupVersionKind(ours.GetObjectKind().GroupVersionKind())
	if d := firstDifference(ours, theirs); d != "" {
		c.found.add(c.kind.Kind, fmt.Sprintf("%s %s %s", v.GroupVersion(), what, where(d)), d)
	}
}

func emptyOf(sample client.Object) client.Object {
	return reflect.New(reflect.TypeOf(sample).Elem()).Interface().(client.Object)
}
