// Command sample-apiserver is Kubernetes' example of an extension API server, of wardle.example.com, built from its
// module.
package main

import (
	"os"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	"k8s.io/sample-apiserver/pkg/cmd/server"
)

func main() {
	command := server.NewCommandStartWardleServer(genericapiserver.SetupSignalContext(), server.NewWardleServerOptions(os.Stdout, os.Stderr), false)
	os.Exit(cli.Run(command))
}
