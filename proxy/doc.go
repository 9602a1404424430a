// Package proxy routes the traffic of Services to their endpoints on one node, as kube-proxy does:
// cluster IPs, node ports, external IPs and load balancer addresses, over TCP, UDP and SCTP, spread
// at random over the ready endpoints.
//
// It has three parts. [Translate] turns a Service and its EndpointSlices into [ServicePort]s, and
// [Render] turns those into a [Ruleset], in the language of iptables-restore; both are functions
// without I/O or clock, and can be used alone to see which rules a set of Services amounts to. A
// [Proxy] keeps the rules of a node in step with an API server. It reaches the kernel by an
// [Applier]: package proxy/iptables has the real one, [Memory] is one for tests.
//
// What a packet meets and why is told in DESIGN.md beside this file.
package proxy
