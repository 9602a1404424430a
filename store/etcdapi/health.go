package etcdapi

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// registerHealth serves gRPC's own health protocol, unless the program does already.
func registerHealth(r grpc.ServiceRegistrar) {
	if g, ok := r.(interface {
		GetServiceInfo() map[string]grpc.ServiceInfo
	}); ok {
		if _, there := g.GetServiceInfo()[grpc_health_v1.Health_ServiceDesc.ServiceName]; there {
			return
		}
	}
	grpc_health_v1.RegisterHealthServer(r, health.NewServer())
}
