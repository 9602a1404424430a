// Package controller is a reconcile loop as a library: keys are reconciled level-triggered from
// shared views of the API, with a back-off after errors and panics contained. The built-in
// controllers of Kubernetes are written on it, one package each: controller/deployment,
// controller/replicaset, controller/endpointslice, controller/namespace,
// controller/garbagecollector, controller/serviceaccount, controller/nodelifecycle,
// controller/tainteviction, controller/podgc, controller/resourcequota, controller/disruption,
// controller/storageprotection and controller/clusterroleaggregation; controller/builtin runs them all.
//
// A controller needs a Reconciler and the Sources whose changes lead to a reconcile. New makes one
// that stands alone; a Group runs several that share their views.
package controller
