// Package inboard is the map of an embeddable orchestrator: Kubernetes-style components as independent
// packages. This package holds no code; import the ones that you need.
//
// # The packages
//
//   - store: a revisioned key-value store with transactions, watches and leases, in memory. store/raft makes
//     it durable and replicated; store/etcdapi serves it as etcd does; store/metrics has its figures.
//   - apiserver: the Kubernetes API over a store. apiserver/kinds has the table of kinds, apiserver/pki
//     the certificates, apiserver/openapi the schema.
//     What a program may add: apiserver/rbac and apiserver/node (who may do what), apiserver/serviceaccount and
//     apiserver/bootstraptoken (tokens), apiserver/crd (kinds that users define), apiserver/webhook and
//     apiserver/policy (admission), apiserver/aggregate (other API servers), apiserver/flowcontrol, apiserver/metrics.
//   - apiserver/client: the contract at which all components meet, seven verbs on apimachinery types. A
//     server in the same process gives a client by Server.Client, without a socket and without
//     serialization; apiserver/client/rest reaches any other Kubernetes by HTTPS;
//     apiserver/client/replica keeps a synced view of one kind.
//   - scheduler: places pods on nodes; a pure function over a snapshot, and a loop around it.
//     scheduler/metrics has its figures.
//   - controller: a reconcile loop as a library. controller/deployment and its siblings are built on it,
//     controller/builtin runs them all.
//   - kubelet: runs the pods of one node on a Runtime. kubelet/runc runs containers by libcontainer,
//     kubelet/process plain processes without root; kubelet/image pulls images, kubelet/network gives
//     pods their addresses.
//   - proxy: routes the traffic of services. proxy/iptables brings its rules into the kernel.
//   - examples: programs that compose them; examples/cluster is a whole cluster in one.
//
// # How they compose
//
// Every component takes a client.Interface, and neither knows nor cares what is behind it:
//
//	st, err := store.Open(store.Config{})
//	api, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
//	sched, err := scheduler.New(scheduler.Config{Client: api.Client(identity)})
//	go api.Run(ctx)
//	go sched.Run(ctx)
//
// What owns a resource has Open and Close. What loops has New, which starts nothing, Run, which blocks
// until everything that it started has stopped, and Ready. When those return, nothing is left: no
// goroutine, port, file lock, mount, cgroup, namespace or rule. Nothing is global, so that many clusters
// can run in one process.
package inboard
