package flowcontrol

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

const (
	// adjustEvery is the period in which seats move from level to level.
	adjustEvery = 10 * time.Second
	// keepEvery is the pause between looks at the default objects.
	keepEvery = time.Minute
	// retryEvery is the pause after a failed attempt to write a status.
	retryEvery = 5 * time.Second
	// producer is the field manager of the default objects, consumer that of what is said about schemas.
	producer = "api-priority-and-fairness-config-producer-v1"
	consumer = "api-priority-and-fairness-config-consumer-v1"
)

// Bootstrap implements apiserver.FlowControl: it makes the default objects that are not there. Of those that are, the
// mandatory ones get back their spec, and the others do if their annotation apf.kubernetes.io/autoupdate-spec says so.
// Objects that an earlier release had by default go, with the same annotation.
func (c *Controller) Bootstrap(ctx context.Context, api client.Interface) error {
	for _, obj := range DefaultObjects() {
		if err := ensure(ctx, api, obj); err != nil {
			return fmt.Errorf("flowcontrol: keeping the default object %s: %w", obj.GetName(), err)
		}
	}
	return removeFormer(ctx, api)
}

var (
	schemasResource = flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas")
	levelsResource  = flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations")
)

func refOf(obj client.Object) client.Ref {
	ref := client.Ref{GroupVersionResource: schemasResource, Name: obj.GetName()}
	if _, ok := obj.(*flowcontrolv1.PriorityLevelConfiguration); ok {
		ref.GroupVersionResource = levelsResource
	}
	return ref
}

// ensure makes or mends one default object.
func ensure(ctx context.Context, api client.Interface, want client.Object) error {
	ref := refOf(want)
	have, err := api.Get(ctx, ref, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		ref.Name = ""
		_, err = api.Create(ctx, ref, want.DeepCopyObject().(client.Object), metav1.CreateOptions{FieldManager: producer})
		if apierrors.IsAlreadyExists(err) {
			return nil // another server was faster
		}
		return err
	}
	if err != nil {
		return err
	}
	current, ok := have.(client.Object)
	if !ok {
		return fmt.Errorf("got a %T", have)
	}
	if !mend(current, want) {
		return nil
	}
	_, err = api.Update(ctx, ref, current, metav1.UpdateOptions{FieldManager: producer})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // it will be looked at again
	}
	return err
}

// mend brings an object to what is wanted, as far as that is ours to say, and tells whether anything changed.
func mend(have, want client.Object) (changed bool) {
	auto := mandatory(want) || keptByUs(have)
	if auto {
		changed = setSpec(have, want)
	}
	annotations := have.GetAnnotations()
	if value, err := strconv.ParseBool(annotations[flowcontrolv1.AutoUpdateAnnotationKey]); err != nil || value != auto {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[flowcontrolv1.AutoUpdateAnnotationKey] = strconv.FormatBool(auto)
		have.SetAnnotations(annotations)
		changed = true
	}
	return changed
}

// keptByUs tells that the spec of a suggested object is ours to keep: its annotation says so, or says nothing and nobody
// has changed the spec so far.
func keptByUs(obj client.Object) bool {
	if value, err := strconv.ParseBool(obj.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey]); err == nil {
		return value
	}
	return obj.GetGeneration() == 1
}

func setSpec(have, want client.Object) bool {
	h, w := reflect.ValueOf(have).Elem().FieldByName("Spec"), reflect.ValueOf(want.DeepCopyObject()).Elem().FieldByName("Spec")
	// The seats of the mandatory level exempt are for the administrator to choose.
	if l, ok := have.(*flowcontrolv1.PriorityLevelConfiguration); ok && l.Spec.Exempt != nil && l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
		w.FieldByName("Exempt").Set(h.FieldByName("Exempt"))
	}
	if apiequality.Semantic.DeepEqual(h.Interface(), w.Interface()) {
		return false
	}
	h.Set(w)
	return true
}

// removeFormer removes objects that are kept by servers, and by this one no more.
func removeFormer(ctx context.Context, api client.Interface) error {
	wanted := map[client.Ref]bool{}
	for _, obj := range DefaultObjects() {
		wanted[refOf(obj)] = true
	}
	schemas, err := client.For[*flowcontrolv1.FlowSchema](api).List(ctx, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	levels, err := client.For[*flowcontrolv1.PriorityLevelConfiguration](api).List(ctx, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	var all []client.Object
	for _, o := range schemas.Items {
		all = append(all, o)
	}
	for _, o := range levels.Items {
		all = append(all, o)
	}
	for _, obj := range all {
		kept, err := strconv.ParseBool(obj.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey])
		if err != nil || !kept || wanted[refOf(obj)] {
			continue
		}
		if err := api.Delete(ctx, refOf(obj), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// Run implements apiserver.FlowControl: it keeps the default objects, says of schemas whether their level is there,
// and moves seats between levels, until ctx ends.
func (c *Controller) Run(ctx context.Context, api client.Interface) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.each(ctx, adjustEvery, c.adjustNow) })
	wg.Go(func() {
		c.each(ctx, keepEvery, func() {
			if err := c.Bootstrap(ctx, api); err != nil && ctx.Err() == nil {
				c.cfg.Logger.Warn("the default objects of flow control could not be kept; trying again", "error", err)
			}
		})
	})
	wg.Go(func() { c.sayWhatDangles(ctx, api) })
	wg.Wait()
	return nil
}

func (c *Controller) each(ctx context.Context, every time.Duration, do func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

func (c *Controller) adjustNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adjust(time.Now())
}

// sayWhatDangles keeps the conditions of flow schemas, whenever one of the objects changes.
func (c *Controller) sayWhatDangles(ctx context.Context, api client.Interface) {
	prefix := apiserver.StoredPrefix(schemasResource.GroupResource())
	prefix = prefix[:len(prefix)-len(schemasResource.Resource)-1] // of both kinds
	for ctx.Err() == nil {
		w, err := c.cfg.Store.Watch(store.WatchConfig{Key: prefix, End: store.PrefixEnd(prefix), Revision: c.cfg.Store.Revision() + 1})
		if err == nil {
			err = c.followDangling(ctx, api, w)
			w.Close()
		}
		if errors.Is(err, store.ErrClosed) {
			return
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Logger.Warn("the conditions of flow schemas could not be written; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

func (c *Controller) followDangling(ctx context.Context, api client.Interface, w *store.Watcher) error {
	for {
		if err := c.writeConditions(ctx, api); err != nil {
			return err
		}
		if _, err := w.Next(ctx); err != nil {
			return err
		}
	}
}

// writeConditions writes the conditions that are not as they should be.
func (c *Controller) writeConditions(ctx context.Context, api client.Interface) error {
	s, err := c.settings(ctx)
	if err != nil {
		return err
	}
	schemas := client.For[*flowcontrolv1.FlowSchema](api)
	list, err := schemas.List(ctx, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, fs := range list.Items {
		want := dangling(fs, s.dangling[fs.Name])
		if have := conditionOf(fs); have != nil && have.Status == want.Status && have.Reason == want.Reason && have.Message == want.Message {
			continue
		}
		fs = fs.DeepCopy()
		if have := conditionOf(fs); have != nil {
			*have = want
		} else {
			fs.Status.Conditions = append(fs.Status.Conditions, want)
		}
		ref := refOf(fs)
		ref.Subresource = "status"
		_, err := api.Update(ctx, ref, fs, metav1.UpdateOptions{FieldManager: consumer})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // what changed will be seen again
			return err
		}
	}
	return nil
}

func conditionOf(fs *flowcontrolv1.FlowSchema) *flowcontrolv1.FlowSchemaCondition {
	for i := range fs.Status.Conditions {
		if fs.Status.Conditions[i].Type == flowcontrolv1.FlowSchemaConditionDangling {
			return &fs.Status.Conditions[i]
		}
	}
	return nil
}

func dangling(fs *flowcontrolv1.FlowSchema, is bool) flowcontrolv1.FlowSchemaCondition {
	what := fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named %q ", fs.Spec.PriorityLevelConfiguration.Name)
	c := flowcontrolv1.FlowSchemaCondition{Type: flowcontrolv1.FlowSchemaConditionDangling, LastTransitionTime: metav1.Now()}
	if is {
		c.Status, c.Reason, c.Message = flowcontrolv1.ConditionTrue, "NotFound", what+"but there is no such object"
	} else {
		c.Status, c.Reason, c.Message = flowcontrolv1.ConditionFalse, "Found", what+"and it exists"
	}
	return c
}
