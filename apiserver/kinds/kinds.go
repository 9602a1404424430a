// Package kinds sums up the rows of all built-in kinds. A program that serves only some API groups
// imports their packages (kinds/core, kinds/apps, ...) instead, and pays only for those.
package kinds

import (
	"slices"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/apps"
	"github.com/inboard/inboard/apiserver/kinds/authentication"
	"github.com/inboard/inboard/apiserver/kinds/authorization"
	"github.com/inboard/inboard/apiserver/kinds/autoscaling"
	"github.com/inboard/inboard/apiserver/kinds/batch"
	"github.com/inboard/inboard/apiserver/kinds/certificates"
	"github.com/inboard/inboard/apiserver/kinds/coordination"
	"github.com/inboard/inboard/apiserver/kinds/core"
	"github.com/inboard/inboard/apiserver/kinds/discovery"
	"github.com/inboard/inboard/apiserver/kinds/flowcontrol"
	"github.com/inboard/inboard/apiserver/kinds/networking"
	"github.com/inboard/inboard/apiserver/kinds/node"
	"github.com/inboard/inboard/apiserver/kinds/policy"
	"github.com/inboard/inboard/apiserver/kinds/rbac"
	"github.com/inboard/inboard/apiserver/kinds/resource"
	"github.com/inboard/inboard/apiserver/kinds/scheduling"
	"github.com/inboard/inboard/apiserver/kinds/storage"
	"github.com/inboard/inboard/apiserver/kinds/storagemigration"
)

// All returns the rows of all built-in kinds, in the order in which kubectl api-resources lists
// their groups. The slice is the caller's own.
func All() []apiserver.Kind {
	return slices.Concat(
		core.Kinds(),
		apps.Kinds(),
		authentication.Kinds(),
		authorization.Kinds(),
		autoscaling.Kinds(),
		batch.Kinds(),
		certificates.Kinds(),
		coordination.Kinds(),
		discovery.Kinds(),
		flowcontrol.Kinds(),
		networking.Kinds(),
		node.Kinds(),
		policy.Kinds(),
		rbac.Kinds(),
		resource.Kinds(),
		scheduling.Kinds(),
		storage.Kinds(),
		storagemigration.Kinds(),
	)
}
