package scheduler

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A scheduler must not wait for ever for a beta kind that a server, not serving it, forbids; but it must not take
// volumes for absent because it may not see them.
func TestMissingKinds(t *testing.T) {
	groups := schema.GroupVersionResource{Group: "scheduling.k8s.io", Version: "v1beta1", Resource: "podgroups"}
	volumes := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	for _, c := range []struct {
		gvr     schema.GroupVersionResource
		err     error
		missing bool
	}{
		{groups, nil, false},
		{groups, apierrors.NewForbidden(groups.GroupResource(), "", nil), true},
		{groups, apierrors.NewNotFound(groups.GroupResource(), ""), true},
		{groups, errors.New("connection refused"), false},
		{volumes, apierrors.NewForbidden(volumes.GroupResource(), "", nil), false},
		{volumes, apierrors.NewNotFound(volumes.GroupResource(), ""), true},
	} {
		if got := (&watched{resource: c.gvr}).missing(c.err); got != c.missing {
			t.Errorf("%s, %v: missing is %v", c.gvr.Resource, c.err, got)
		}
	}
}
