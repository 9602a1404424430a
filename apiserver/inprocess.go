package apiserver

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/store"
)

// inProcess is the contract without HTTP.
type inProcess struct {
	server *Server
	user   *Identity
}

var (
	_ client.Interface    = (*inProcess)(nil)
	_ client.SharedReader = (*inProcess)(nil)
)

// SharesObjects tells that requests carry Go objects and nothing is encoded: a component that replaces an object or
// its status can't lose fields that it does not know. Components look for this method.
func (c *inProcess) SharesObjects() bool { return true }

func (c *inProcess) ResourceFor(obj runtime.Object) (schema.GroupVersionResource, error) {
	now, err := c.server.refreshed(context.Background())
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	r, err := now.table.resourceFor(obj)
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	return r.gvr, nil
}

func (c *inProcess) Get(ctx context.Context, ref client.Ref, opts metav1.GetOptions) (runtime.Object, error) {
	rq, err := c.server.begin(ctx, c.user, verbGet, ref)
	if err != nil {
		return nil, err
	}
	f, err := c.server.get(ctx, rq, opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	obj, err := f.object()
	if err != nil {
		return nil, err
	}
	return c.server.view(rq, obj)
}

// GetShared hands out the object that the store's entry holds. Its request is on the stack.
func (c *inProcess) GetShared(ctx context.Context, ref client.Ref, opts metav1.GetOptions) (runtime.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rq := request{user: c.user, verb: verbGet, ref: ref, warn: noWarnings}
	if err := rq.begin(ctx, c.server); err != nil {
		return nil, err
	}
	f, err := c.server.get(ctx, &rq, opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	return c.server.viewShared(&rq, &f)
}

func (c *inProcess) List(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (*client.List, error) {
	rq, err := c.server.beginWith(ctx, c.user, verbList, ref, selectorsOf(&opts))
	if err != nil {
		return nil, err
	}
	l, err := c.server.findList(ctx, rq, &opts)
	if err != nil {
		return nil, err
	}
	out := &client.List{TypeMeta: rq.served().listKind(), ListMeta: l.meta(), Items: make([]runtime.Object, len(l.items))}
	for i := range l.items {
		if out.Items[i], err = l.items[i].shown(rq.served()); err != nil {
			return nil, asStatus(err)
		}
	}
	return out, nil
}

func (c *inProcess) Watch(ctx context.Context, ref client.Ref, opts metav1.ListOptions) (watch.Interface, error) {
	rq, err := c.server.beginWith(ctx, c.user, verbWatch, ref, selectorsOf(&opts))
	if err != nil {
		return nil, err
	}
	src, err := c.server.watch(ctx, rq, &opts)
	if err != nil {
		return nil, err
	}
	return startWatch(ctx, src, opts.TimeoutSeconds), nil
}

func (c *inProcess) Create(ctx context.Context, ref client.Ref, obj runtime.Object, opts metav1.CreateOptions) (runtime.Object, error) {
	rq, err := c.server.begin(ctx, c.user, verbCreate, ref)
	if err != nil {
		return nil, err
	}
	f, answer, err := c.create(ctx, rq, obj, &opts)
	if err != nil || answer != nil {
		return answer, err
	}
	return c.server.viewWritten(rq, f)
}

// create returns what was stored, or the answer to what is not.
func (c *inProcess) create(ctx context.Context, rq *request, obj runtime.Object, opts *metav1.CreateOptions) (found, runtime.Object, error) {
	if err := rq.createOptions(opts); err != nil {
		return found{}, nil, err
	}
	if rq.ref.Subresource != "" {
		if obj == nil {
			return found{}, nil, badRequest("the request has no object")
		}
		answer, err := c.server.createSubresource(ctx, rq, obj.DeepCopyObject())
		return found{}, answer, err
	}
	own, err := rq.served().own(obj)
	if err != nil {
		return found{}, nil, err
	}
	if rq.res.Review != nil {
		answer, err := c.server.review(ctx, rq, own)
		return found{}, answer, err
	}
	f, err := c.server.create(ctx, rq, own)
	return f, nil, err
}

func (c *inProcess) Update(ctx context.Context, ref client.Ref, obj runtime.Object, opts metav1.UpdateOptions) (runtime.Object, error) {
	rq, err := c.server.begin(ctx, c.user, verbUpdate, ref)
	if err != nil {
		return nil, err
	}
	f, err := c.update(ctx, rq, obj, &opts)
	if err != nil {
		return nil, err
	}
	return c.server.viewWritten(rq, f)
}

func (c *inProcess) update(ctx context.Context, rq *request, obj runtime.Object, opts *metav1.UpdateOptions) (found, error) {
	if err := rq.updateOptions(opts); err != nil {
		return found{}, err
	}
	body, err := c.server.ownBody(rq, obj)
	if err != nil {
		return found{}, err
	}
	f, _, err := c.server.replace(ctx, rq, body)
	return f, err
}

func (c *inProcess) Patch(ctx context.Context, ref client.Ref, pt types.PatchType, patch []byte, opts metav1.PatchOptions) (runtime.Object, error) {
	rq, err := c.server.begin(ctx, c.user, verbPatch, ref)
	if err != nil {
		return nil, err
	}
	if err := rq.patchOptions(&opts, pt); err != nil {
		return nil, err
	}
	f, _, err := c.server.patch(ctx, rq, pt, patch, &opts)
	if err != nil {
		return nil, err
	}
	return c.server.viewWritten(rq, f)
}

func (c *inProcess) Delete(ctx context.Context, ref client.Ref, opts metav1.DeleteOptions) error {
	rq, err := c.server.begin(ctx, c.user, verbDelete, ref)
	if err != nil {
		return err
	}
	_, err = c.server.delete(ctx, rq, &opts)
	return err
}

// channelWatch feeds a watch's channel. Its goroutine holds at most one batch besides what the channel
// buffers; the rest waits in the store's history.
type channelWatch struct {
	src    *watcher
	events chan watch.Event
	ctx    context.Context
	cancel context.CancelFunc
	forget func() bool
}

func startWatch(ctx context.Context, src *watcher, timeoutSeconds *int64) *channelWatch {
	w := &channelWatch{src: src, events: make(chan watch.Event, 64)}
	if timeoutSeconds != nil && *timeoutSeconds > 0 {
		w.ctx, w.cancel = context.WithTimeout(ctx, time.Duration(*timeoutSeconds)*time.Second)
	} else {
		w.ctx, w.cancel = context.WithCancel(ctx)
	}
	w.forget = src.sel.as.whenGone(w.cancel)
	go w.run()
	return w
}

func (w *channelWatch) Stop() { w.cancel() }

func (w *channelWatch) ResultChan() <-chan watch.Event { return w.events }

func (w *channelWatch) run() {
	defer close(w.events)
	defer w.src.close()
	defer w.cancel()
	defer w.forget()
	for {
		changes, err := w.src.next(w.ctx)
		if err != nil {
			if w.ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				w.send(watchError(err))
			}
			return
		}
		for i := range changes {
			obj, err := changes[i].shown(w.src.sel.as)
			if err != nil {
				w.send(watchError(err))
				return
			}
			if !w.send(watch.Event{Type: changes[i].typ, Object: obj}) {
				return
			}
		}
	}
}

func (w *channelWatch) send(ev watch.Event) bool {
	select {
	case w.events <- ev:
		return true
	case <-w.ctx.Done():
		return false
	}
}
