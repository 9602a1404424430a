package resource

import (
	"fmt"
	"math"
	"math/big"

	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// capacity checks how much of a capacity those who share a device may ask for.
func capacity(l *check.List, path *field.Path, c resourcev1.DeviceCapacity, several bool) {
	p, path := c.RequestPolicy, path.Child("requestPolicy")
	switch {
	case p == nil:
	case !several:
		l.Forbidden(path, "allowMultipleAllocations must be true")
	case len(p.ValidValues) > 0 && p.ValidRange != nil:
		l.Forbidden(path, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)
	case len(p.ValidValues) > 0 && p.Default == nil:
		l.Required(path.Child("default"), "required when validValues is defined")
	case len(p.ValidValues) > 0:
		validValues(l, path.Child("validValues"), p.ValidValues, *p.Default, c.Value)
	case p.ValidRange != nil && p.Default == nil:
		l.Required(path.Child("default"), "required when validRange is defined")
	case p.ValidRange != nil:
		validRange(l, path.Child("validRange"), p.ValidRange, *p.Default, c.Value)
	}
}

// maxValidValues is how many values a policy may allow.
const maxValidValues = 10

func validValues(l *check.List, path *field.Path, list []apiresource.Quantity, byDefault, most apiresource.Quantity) {
	for i := 1; i < len(list); i++ {
		if list[i-1].Cmp(list[i]) > 0 {
			l.Invalid(path.Index(i), list[i].String(), "values must be sorted in ascending order")
		}
	}
	found := false
	check.Unique(l, path, list, maxValidValues, asDecimal,
		func(q *apiresource.Quantity, p *field.Path) {
			if q.Cmp(most) > 0 {
				l.Invalid(p, q.String(), "option is larger than capacity value: "+most.String())
			}
			found = found || q.Cmp(byDefault) == 0
		})
	if !found {
		l.Invalid(path, byDefault.String(), "default value is not valid according to the requestPolicy")
	}
}

// asDecimal writes an amount without a suffix.
func asDecimal(q *apiresource.Quantity) string {
	d := q.DeepCopy()
	return d.AsDec().String()
}

// exact returns an amount as a fraction.
func exact(q apiresource.Quantity) *big.Rat {
	d := q.DeepCopy()
	dec := d.AsDec()
	scale := int64(dec.Scale())
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(max(scale, -scale)), nil)
	if scale >= 0 {
		return new(big.Rat).SetFrac(dec.UnscaledBig(), power)
	}
	return new(big.Rat).SetInt(power.Mul(power, dec.UnscaledBig()))
}

// bound is a number of a range by its name.
type bound struct {
	name string
	q    *apiresource.Quantity
}

func validRange(l *check.List, path *field.Path, r *resourcev1.CapacityRequestPolicyRange, byDefault, most apiresource.Quantity) {
	if r.Min == nil {
		l.Required(path.Child("min"), "required when validRange is defined")
		return
	}
	more := func(name string, a *apiresource.Quantity, text string, b *apiresource.Quantity) {
		if a.Cmp(*b) > 0 {
			l.Invalid(path.Child(name), a.String(), text+b.String())
		}
	}
	more("min", r.Min, "min is larger than capacity value: ", &most)
	if byDefault.Cmp(*r.Min) < 0 {
		l.Invalid(path.Child("default"), byDefault.String(), "default is less than min: "+r.Min.String())
	}
	if r.Max != nil {
		more("max", r.Min, "min is larger than max: ", r.Max)
		more("max", r.Max, "max is larger than capacity value: ", &most)
		more("default", &byDefault, "default is more than max: ", r.Max)
	}
	bounds := []bound{{"default", &byDefault}, {"min", r.Min}, {"max", r.Max}, {"step", r.Step}}
	milli, tooFine := false, false
	for _, b := range bounds {
		milli = milli || b.q != nil && !exact(*b.q).IsInt()
	}
	for _, b := range bounds {
		if b.q != nil && milli && b.q.Cmp(*apiresource.NewMilliQuantity(b.q.MilliValue(), b.q.Format)) != 0 {
			l.Invalid(path.Child(b.name), b.q.String(), "value cannot be represented as a milli value")
			tooFine = true
		}
	}
	if r.Step != nil && !tooFine {
		steps(l, path, r, bounds, most, milli)
	}
}

// steps checks that the default and the end of a range are whole steps from its beginning.
func steps(l *check.List, path *field.Path, r *resourcev1.CapacityRequestPolicyRange, bounds []bound, most apiresource.Quantity, milli bool) {
	if r.Step.Sign() <= 0 {
		l.Invalid(path.Child("step"), r.Step.String(), "must be greater than zero")
		return
	}
	first := r.Min.DeepCopy()
	first.Add(*r.Step)
	if first.Cmp(most) > 0 {
		l.Invalid(path.Child("step"), r.Step.String(), fmt.Sprintf("one step %s is larger than capacity value: %s", first.String(), most.String()))
	}
	inRange := true
	for _, b := range bounds {
		switch {
		case b.q == nil || milli:
		case b.q.Sign() < 0:
			l.Invalid(path.Child(b.name), b.q.String(), apivalidation.IsNegativeErrorMsg)
			inRange = false
		case b.q.CmpInt64(math.MaxInt64) > 0:
			l.Invalid(path.Child(b.name), b.q.String(), fmt.Sprintf("must not be larger than %d", int64(math.MaxInt64)))
			inRange = false
		}
	}
	if !inRange {
		return
	}
	number := func(q *apiresource.Quantity) int64 {
		if milli {
			return q.MilliValue()
		}
		return q.Value()
	}
	for _, b := range []bound{bounds[0], bounds[2]} {
		if b.q != nil && (number(b.q)-number(r.Min))%number(r.Step) != 0 {
			l.Invalid(path.Child("step"), b.q.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step.String(), r.Min.String()))
		}
	}
}
