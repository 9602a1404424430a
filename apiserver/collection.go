package apiserver

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deleteCollection deletes what a list selects, and returns what that was before.
func (s *Server) deleteCollection(ctx context.Context, rq *request, list *metav1.ListOptions, opts *metav1.DeleteOptions) (*listed, error) {
	l, err := s.list(ctx, rq, list)
	if err != nil {
		return nil, err
	}
	for i := range l.items {
		one := *rq
		one.verb, one.collection, one.options = verbDelete, true, opts
		one.ref.Namespace, one.ref.Name = l.items[i].obj.GetNamespace(), l.items[i].obj.GetName()
		// The deletion is of this object, not of one that took its name meanwhile.
		own := opts.DeepCopy()
		if own.Preconditions == nil {
			own.Preconditions = &metav1.Preconditions{}
		}
		if own.Preconditions.UID == nil {
			uid := l.items[i].obj.GetUID()
			own.Preconditions.UID = &uid
		}
		_, err := s.delete(ctx, &one, own)
		if err != nil && !apierrors.IsNotFound(err) && (!apierrors.IsConflict(err) || opts.Preconditions != nil) {
			return nil, err
		}
	}
	return l, nil
}
