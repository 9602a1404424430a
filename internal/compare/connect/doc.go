// Package connect holds exec, attach, port-forward and proxies to Kubernetes' own code: client-go's and
// kubectl's clients on one side, the streaming server of kubelets on the other, the API server between.
package connect
