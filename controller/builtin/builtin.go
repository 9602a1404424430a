// Package builtin runs the built-in controllers together, on one set of views. With them an API server can have all
// admission plugins that are on by default: nodelifecycle takes the taint of TaintNodesByCondition from nodes that
// are ready, storageprotection the finalizers of StorageObjectInUseProtection from volumes that nothing uses.
package builtin

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	storagemigrationv1 "k8s.io/api/storagemigration/v1"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/controller"
	"github.com/inboard/inboard/controller/certificates"
	"github.com/inboard/inboard/controller/clusterroleaggregation"
	"github.com/inboard/inboard/controller/deployment"
	"github.com/inboard/inboard/controller/disruption"
	"github.com/inboard/inboard/controller/endpointslice"
	"github.com/inboard/inboard/controller/garbagecollector"
	"github.com/inboard/inboard/controller/namespace"
	"github.com/inboard/inboard/controller/nodelifecycle"
	"github.com/inboard/inboard/controller/podgc"
	"github.com/inboard/inboard/controller/replicaset"
	"github.com/inboard/inboard/controller/resourcequota"
	"github.com/inboard/inboard/controller/serviceaccount"
	"github.com/inboard/inboard/controller/storageprotection"
	"github.com/inboard/inboard/controller/storageversionmigrator"
	"github.com/inboard/inboard/controller/tainteviction"
)

// Config describes the set of controllers.
type Config struct {
	Client client.Interface
	// ClientFor returns the client of one controller, see controller.GroupConfig; nil is Client for all.
	ClientFor func(controller string) client.Interface
	// Resources are what the garbage collector watches as long as it runs; nil is the built-in kinds. When they are
	// given and have no VolumeAttributesClasses, the server is taken to have none.
	Resources []controller.Resource
	// Discover tells, each time a namespace is deleted, what it may hold, for quotas and disruption budgets which
	// kinds there are, and what the garbage collector watches besides, such as kinds that users define; nil is
	// Resources.
	Discover controller.Resources
	// QuotaResync is how often ResourceQuotas are counted anew; see resourcequota.Config.
	QuotaResync time.Duration
	// RootCA is the PEM certificate that signs the API server's, for the ConfigMap
	// kube-root-ca.crt of each namespace; empty writes none.
	RootCA []byte
	// Signers are the authorities that sign certificates, see certificates.Config; with none, requests are
	// only approved and deleted.
	Signers map[string]certificates.Authority
	// Logger nil discards.
	Logger *slog.Logger
}

// New returns a group of all built-in controllers. A program's own can be added before it runs. The
// error tells which field of cfg is wrong.
func New(cfg Config) (*controller.Group, error) {
	if cfg.Client == nil {
		return nil, errors.New("builtin: Config.Client is nil")
	}
	protection := storageOf(cfg)
	if cfg.Resources == nil {
		cfg.Resources = controller.Builtin()
	}
	collected := garbagecollector.Config{Resources: cfg.Resources, Discover: cfg.Discover}
	if cfg.Discover == nil {
		cfg.Discover = controller.Known(cfg.Resources...)
	}
	g, err := controller.NewGroup(controller.GroupConfig{Client: cfg.Client, ClientFor: cfg.ClientFor, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("builtin: %w", err)
	}
	err = errors.Join(
		deployment.Add(g, deployment.Config{}),
		replicaset.Add(g, replicaset.Config{}),
		endpointslice.Add(g, endpointslice.Config{}),
		namespace.Add(g, namespace.Config{Resources: cfg.Discover}),
		garbagecollector.Add(g, collected),
		serviceaccount.Add(g, serviceaccount.Config{RootCA: cfg.RootCA}),
		nodelifecycle.Add(g, nodelifecycle.Config{}),
		tainteviction.Add(g, tainteviction.Config{}),
		podgc.Add(g, podgc.Config{}),
		resourcequota.Add(g, resourcequota.Config{Resources: cfg.Discover, Resync: cfg.QuotaResync}),
		storageprotection.Add(g, protection),
	)
	if _, unknown := cfg.Client.ResourceFor(&rbacv1.ClusterRole{}); unknown == nil && err == nil { // a server may be without them
		err = clusterroleaggregation.Add(g, clusterroleaggregation.Config{})
	}
	if _, unknown := cfg.Client.ResourceFor(&policyv1.PodDisruptionBudget{}); unknown == nil && err == nil {
		err = disruption.Add(g, disruption.Config{Resources: cfg.Discover})
	}
	if _, unknown := cfg.Client.ResourceFor(&certificatesv1.CertificateSigningRequest{}); unknown == nil && err == nil {
		err = certificates.Add(g, certificates.Config{Signers: cfg.Signers, RootCA: cfg.RootCA})
	}
	if _, unknown := cfg.Client.ResourceFor(&storagemigrationv1.StorageVersionMigration{}); unknown == nil && err == nil {
		err = storageversionmigrator.Add(g, storageversionmigrator.Config{Resources: cfg.Discover})
	}
	if err != nil {
		return nil, fmt.Errorf("builtin: %w", err)
	}
	return g, nil
}

// storageOf tells which kinds of storage the server has: it may be without some.
func storageOf(cfg Config) storageprotection.Config {
	_, noVolumes := cfg.Client.ResourceFor(&corev1.PersistentVolume{})
	classes, noClasses := cfg.Client.ResourceFor(&storagev1.VolumeAttributesClass{})
	listed := cfg.Resources == nil || slices.ContainsFunc(cfg.Resources, func(r controller.Resource) bool { return r.GroupVersionResource == classes })
	return storageprotection.Config{
		WithoutVolumes: noVolumes != nil,
		WithoutClasses: noVolumes != nil || noClasses != nil || !listed,
	}
}
