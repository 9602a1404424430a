package imports

// rule tells what a package may import besides the standard library: third parties in may, packages of
// this module in own. The first rule that fits counts.
type rule struct {
	pkg string
	may []string
	own []string
	why string
}

// machinery is what every component may stand on: the API's types and small libraries around them.
var machinery = []string{"k8s.io/api/...", "k8s.io/apimachinery/...", "k8s.io/utils/...", "sigs.k8s.io/yaml"}

func with(more ...string) []string { return append(append([]string{}, machinery...), more...) }

var rules = []rule{
	{pkg: "", why: "the map of the packages is only text"},

	{pkg: "store", may: []string{"github.com/tidwall/btree", "github.com/hashicorp/go-immutable-radix"},
		why: "a key-value store knows neither consensus nor Kubernetes"},
	{pkg: "store/storetest", may: []string{"pgregory.net/rapid", "github.com/cockroachdb/datadriven", "github.com/anishathalye/porcupine"},
		own: []string{"store"}, why: "the suite for every kind of store"},
	{pkg: "store/metrics", may: []string{"github.com/prometheus/client_golang/prometheus/..."}, own: []string{"store", "store/raft"},
		why: "a store's figures for Prometheus; nobody else needs it"},
	{pkg: "store/raft", may: []string{"github.com/hashicorp/raft", "github.com/hashicorp/raft-wal/...", "github.com/hashicorp/go-hclog", "golang.org/x/sys/unix"},
		own: []string{"store"}, why: "the only package that knows consensus"},

	{pkg: "store/etcdapi/etcdraft", may: []string{"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"}, own: []string{"store/etcdapi", "store/raft"},
		why: "an etcd API over a store without replication brings no Raft"},
	{pkg: "store/etcdapi", may: []string{"go.etcd.io/etcd/api/v3/...", "google.golang.org/grpc/...", "google.golang.org/protobuf/proto"},
		own: []string{"store"}, why: "the only package that speaks gRPC, with etcd's own messages and errors; etcd's server and client belong to nested modules"},

	{pkg: "apiserver/client", may: []string{"k8s.io/apimachinery/..."},
		why: "the contract is apimachinery's types and nothing else"},
	{pkg: "apiserver/client/replica", may: []string{"k8s.io/apimachinery/..."}, own: []string{"apiserver/client"},
		why: "every component keeps views, also where no HTTPS is spoken"},
	{pkg: "apiserver/client/rest", may: with("k8s.io/client-go/rest", "k8s.io/client-go/tools/clientcmd"),
		own: []string{"apiserver/client"}, why: "the only package that brings an HTTPS client"},
	{pkg: "apiserver/client/clienttest", may: machinery, own: []string{"apiserver/client"},
		why: "the suite for every implementation of the contract"},

	{pkg: "apiserver/node", may: with("k8s.io/component-helpers/storage/ephemeral", "k8s.io/csi-translation-lib", "github.com/go-logr/logr"),
		own: []string{"apiserver", "apiserver/client", "apiserver/internal/follow", "apiserver/rbac"},
		why: "what kubelets may do; which CSI driver an in-tree volume belongs to is Kubernetes' own table"},
	{pkg: "apiserver/webhook", may: machinery,
		own: []string{"apiserver", "apiserver/cel", "apiserver/client", "apiserver/internal/endpoints", "apiserver/internal/follow", "apiserver/internal/hookclient", "apiserver/internal/registration"},
		why: "asks webhooks, for programs that want it"},
	{pkg: "apiserver/flowcontrol", may: machinery, own: []string{"store", "apiserver", "apiserver/client", "apiserver/internal/follow", "apiserver/kinds/flowcontrol"},
		why: "priority and fairness that a program may choose; k8s.io/apiserver's own is 907 packages"},
	{pkg: "apiserver/internal/endpoints", may: machinery, why: "where a Service is served, told from objects that others have read"},
	{pkg: "apiserver/internal/hookclient", may: with("k8s.io/client-go/rest"),
		why: "calls webhooks over HTTPS, for packages that a program opts into; what a call that fails says is client-go's own text"},
	{pkg: "apiserver/internal/follow", own: []string{"store", "apiserver/client"}, why: "views of what is stored, for authorizers and the like"},
	{pkg: "apiserver/internal/registration", may: machinery, own: []string{"apiserver", "apiserver/client"}, why: "what webhooks and policies have in common"},
	{pkg: "apiserver/rbac", may: with("k8s.io/component-helpers/auth/rbac/validation"), own: []string{"store", "apiserver", "apiserver/client", "apiserver/kinds/rbac"},
		why: "an authorizer that a program may choose; which rules cover which is Kubernetes' own library"},
	{pkg: "apiserver/aggregate", may: with("k8s.io/kube-aggregator/pkg/apis/apiregistration/v1", "k8s.io/kube-openapi/pkg/aggregator", "k8s.io/kube-openapi/pkg/openapiconv", "k8s.io/kube-openapi/pkg/validation/spec"),
		own: []string{"store", "apiserver", "apiserver/client", "apiserver/internal/endpoints", "apiserver/internal/follow", "apiserver/openapi"},
		why: "other API servers behind the same API; what they say of themselves is merged by Kubernetes' own library"},
	{pkg: "apiserver/cel", may: with("github.com/google/cel-go/...", "k8s.io/apiserver/pkg/apis/cel", "k8s.io/apiserver/pkg/cel/...", "k8s.io/apiserver/pkg/authentication/user", "k8s.io/apiserver/pkg/authorization/authorizer"),
		own: []string{"apiserver", "apiserver/client"},
		why: "CEL for packages that a program may choose; functions and costs are Kubernetes' own library, whose version of them clients count on"},
	{pkg: "apiserver/policy", may: with("github.com/google/cel-go/...", "google.golang.org/protobuf/types/known/structpb", "gopkg.in/evanphx/json-patch.v4", "k8s.io/apiserver/pkg/cel/...", "k8s.io/client-go/util/jsonpath", "k8s.io/dynamic-resource-allocation/cel", "k8s.io/kube-openapi/pkg/validation/spec", "sigs.k8s.io/structured-merge-diff/..."),
		own: []string{"apiserver", "apiserver/cel", "apiserver/client", "apiserver/client/replica", "apiserver/internal/follow", "apiserver/internal/registration", "internal/news"},
		why: "admission policies that a program may choose, and their kinds"},
	{pkg: "apiserver/crd", may: with("k8s.io/apiextensions-apiserver/pkg/...", "k8s.io/apiserver/pkg/apis/cel", "k8s.io/apiserver/pkg/cel/...", "k8s.io/kube-openapi/...",
		"k8s.io/client-go/util/jsonpath", "k8s.io/client-go/util/cert", "github.com/google/cel-go/cel", "sigs.k8s.io/structured-merge-diff/...", "sigs.k8s.io/json"),
		own: []string{"store", "apiserver", "apiserver/client", "apiserver/internal/endpoints", "apiserver/internal/follow", "apiserver/internal/hookclient", "apiserver/openapi"},
		why: "kinds that users define, for programs that want them; what a schema means is Kubernetes' own libraries"},
	{pkg: "apiserver/bootstraptoken", may: machinery, own: []string{"apiserver", "apiserver/client"},
		why: "a way to prove an identity that a program may choose"},
	{pkg: "apiserver/serviceaccount", may: with("github.com/go-jose/go-jose/v4/..."), own: []string{"apiserver", "apiserver/client"},
		why: "the only package that knows JSON Web Tokens"},
	{pkg: "apiserver/metrics", may: []string{"github.com/prometheus/client_golang/prometheus/..."}, own: []string{"apiserver", "apiserver/flowcontrol"},
		why: "a server's figures for Prometheus; nobody else needs it"},
	{pkg: "apiserver/pki", may: []string{"sigs.k8s.io/yaml"}, why: "certificates are the standard library's"},
	{pkg: "apiserver/kinds/batch", may: with("k8s.io/component-helpers/...", "github.com/robfig/cron/v3"), own: []string{"apiserver", "apiserver/client", "apiserver/kinds/..."},
		why: "the parser of CronJobs' schedules is Kubernetes' own, so that its errors read the same"},
	{pkg: "apiserver/kinds/...", may: with("k8s.io/component-helpers/..."), own: []string{"apiserver", "apiserver/client", "apiserver/internal/plain", "apiserver/kinds/..."},
		why: "rows of the table of kinds; a program links only the groups it imports"},
	{pkg: "apiserver/openapi", may: with("k8s.io/kube-openapi/...", "github.com/google/gnostic-models/...", "google.golang.org/protobuf/...", "sigs.k8s.io/structured-merge-diff/..."),
		own: []string{"apiserver", "apiserver/client"}, why: "documents made from the Go types"},
	{pkg: "apiserver/openapi/internal/enums", why: "a tool of go generate that reads sources"},
	{pkg: "apiserver/internal/managed", may: with("sigs.k8s.io/structured-merge-diff/..."),
		own: []string{"apiserver/client", "apiserver/openapi"}, why: "who manages which field; merging is the library's"},
	{pkg: "apiserver/internal/plain", why: "which names are valid, told by a scan, for the server and the rows of its table"},
	{pkg: "apiserver/internal/index", may: []string{"github.com/tidwall/btree"}, own: []string{"store"},
		why: "an index is entries of the store in order; the store's own B-tree keeps it"},
	{pkg: "apiserver", may: with("k8s.io/component-helpers/resource", "k8s.io/pod-security-admission/api", "k8s.io/pod-security-admission/policy", "k8s.io/component-helpers/nodedeclaredfeatures", "k8s.io/kube-openapi/...", "sigs.k8s.io/structured-merge-diff/...", "gopkg.in/evanphx/json-patch.v4", "sigs.k8s.io/json", "golang.org/x/net/html/...", "golang.org/x/net/websocket"),
		own: []string{"store", "apiserver/client", "apiserver/internal/endpoints", "apiserver/internal/index", "apiserver/internal/managed", "apiserver/internal/plain", "apiserver/openapi", "apiserver/pki", "internal/quota"},
		why: "the API over a store; it meets the components only at the contract"},

	{pkg: "scheduler/metrics", may: []string{"github.com/prometheus/client_golang/prometheus/..."}, own: []string{"scheduler"},
		why: "a scheduler's figures for Prometheus; nobody else needs it"},
	{pkg: "scheduler/...", may: with("k8s.io/component-helpers/...", "k8s.io/csi-translation-lib/..."), own: []string{"apiserver/client", "apiserver/client/replica", "internal/election", "internal/events", "scheduler/..."},
		why: "a component meets the others only at the contract"},

	{pkg: "controller", may: with("k8s.io/client-go/util/workqueue"), own: []string{"apiserver/client", "apiserver/client/replica", "internal/events"},
		why: "a reconcile loop for anyone's controllers"},
	{pkg: "controller/resourcequota", may: machinery, own: []string{"apiserver/client", "apiserver/client/replica", "controller", "internal/quota"},
		why: "counts what admission charges"},
	{pkg: "controller/builtin", may: machinery, own: []string{"apiserver/client", "apiserver/client/replica", "internal/events", "controller", "controller/*"},
		why: "composes the built-in controllers"},
	{pkg: "controller/*", may: machinery, own: []string{"apiserver/client", "apiserver/client/replica", "internal/events", "controller"},
		why: "a built-in controller knows no other"},

	{pkg: "kubelet", may: with("k8s.io/component-helpers/...", "golang.org/x/sys/unix"), own: []string{"apiserver/client", "apiserver/client/replica", "internal/events"},
		why: "a component meets the others only at the contract; runtimes are handed to it"},
	{pkg: "kubelet/image", may: []string{"github.com/google/go-containerregistry/...", "github.com/klauspost/compress/...",
		"github.com/cyphar/filepath-securejoin/...", "golang.org/x/sys/unix"}, own: []string{"kubelet"},
		why: "the only package that speaks to registries; layers are unpacked by libraries that do only that"},
	{pkg: "kubelet/network", may: []string{"github.com/vishvananda/netlink/...", "github.com/vishvananda/netns", "golang.org/x/sys/unix"}, own: []string{"kubelet"},
		why: "links, routes and addresses of pods"},
	{pkg: "kubelet/runc", may: []string{"github.com/opencontainers/...", "golang.org/x/sys/unix", "github.com/moby/sys/...",
		"github.com/containerd/console", "github.com/cyphar/filepath-securejoin/..."}, own: []string{"internal/news", "kubelet", "kubelet/image", "kubelet/network", "kubelet/cri"},
		why: "the only importer of libcontainer"},
	{pkg: "kubelet/process", may: []string{"golang.org/x/sys/unix"}, own: []string{"internal/news", "kubelet", "kubelet/image"},
		why: "the runtime without privileges must not bring libcontainer"},
	{pkg: "kubelet/kubelettest/...", may: []string{"github.com/google/go-containerregistry/..."}, own: []string{"kubelet", "kubelet/image"},
		why: "the suite for every runtime"},

	{pkg: "proxy", may: machinery, own: []string{"apiserver/client", "apiserver/client/replica", "internal/events"},
		why: "a component meets the others only at the contract; rules are applied by what it is handed"},
	{pkg: "proxy/iptables", may: []string{"github.com/coreos/go-iptables/iptables", "github.com/vishvananda/netlink", "golang.org/x/sys/unix"}, own: []string{"proxy"},
		why: "the only importer of go-iptables"},

	{pkg: "internal/apitest", own: []string{"store", "apiserver", "apiserver/client", "apiserver/kinds", "apiserver/pki"},
		why: "the server of other packages' tests; only tests import it"},
	{pkg: "internal/election", may: machinery, own: []string{"apiserver/client"}, why: "components elect a leader through the contract; client-go's election is banned"},
	{pkg: "internal/events", may: machinery, own: []string{"apiserver/client"}, why: "components record events through the contract"},
	{pkg: "internal/quota", may: with("k8s.io/component-helpers/resource"),
		why: "admission charges and the controller counts by one measure"},
	{pkg: "internal/news", why: "a queue of names, for every runtime"},
	{pkg: "internal/nstest", may: []string{"github.com/vishvananda/netlink"},
		why: "moves tests into namespaces of their own; only tests import it"},
	{pkg: "internal/selfimage", may: []string{"github.com/google/go-containerregistry/..."}, why: "images of the running program, for demos and tests"},
	{pkg: "internal/weigh", may: []string{"golang.org/x/sys/unix"}, why: "it builds programs that link the library, and links none of it"},
	{pkg: "internal/imports", why: "go list is all it needs"},
	{pkg: "internal/e2e", why: "tests start programs, they link none"},

	{pkg: "examples/...", may: []string{"..."}, own: []string{"..."}, why: "programs may compose anything"},
}

// celUsers are the packages that may bring Kubernetes' CEL libraries along.
var celUsers = []string{"apiserver/cel", "apiserver/crd/...", "apiserver/policy", "apiserver/webhook", "examples/..."}

// banned are packages that nobody in this module may depend on, at any depth.
var banned = []struct {
	dep    string
	except []string
	why    string
}{
	{dep: "k8s.io/kubernetes/...", why: "internal packages of Kubernetes belong to nested modules"},
	{dep: "k8s.io/apiserver/...", except: celUsers, why: "CEL and prometheus belong to what a program opts into"},
	{dep: "k8s.io/apiserver/pkg/server/...", why: "the generic server drags in etcd's client and hundreds of packages"},
	{dep: "k8s.io/apiserver/pkg/endpoints/...", why: "belongs to the generic server"},
	{dep: "k8s.io/apiserver/pkg/registry/...", why: "belongs to the generic server"},
	{dep: "k8s.io/apiserver/pkg/storage/...", why: "belongs to the generic server"},
	{dep: "k8s.io/apiserver/pkg/admission/...", why: "brings the clientset and informers along"},
	{dep: "sigs.k8s.io/controller-runtime/...", why: "belongs to nested modules"},
	{dep: "k8s.io/client-go/kubernetes/...", why: "the generated clientset is 577 packages; the contract replaces it"},
	{dep: "k8s.io/client-go/informers/...", why: "package replica keeps views"},
	{dep: "k8s.io/client-go/discovery/...", why: "brings OpenAPI's client along"},
	{dep: "k8s.io/client-go/tools/leaderelection/...", why: "brings the clientset along"},
	{dep: "k8s.io/client-go/tools/events/...", why: "brings the clientset along; internal/events records"},
	{dep: "k8s.io/client-go/tools/record/...", why: "brings the clientset along; internal/events records"},
	{dep: "k8s.io/client-go/rest", except: []string{"apiserver/client/rest", "apiserver/crd", "apiserver/internal/hookclient", "apiserver/webhook", "examples/..."},
		why: "in one process nobody pays for an HTTPS client"},
	{dep: "github.com/hashicorp/raft", except: []string{"store/raft", "store/metrics", "store/etcdapi/etcdraft", "examples/..."}, why: "a store in memory needs no consensus"},
	{dep: "google.golang.org/grpc/...", except: []string{"store/etcdapi/...", "examples/..."}, why: "a store in one process needs no wire"},
	{dep: "go.etcd.io/etcd/...", except: []string{"store/etcdapi/...", "examples/..."}, why: "only store/etcdapi speaks etcd's protocol"},
	{dep: "github.com/opencontainers/runc/...", except: []string{"kubelet/runc", "examples/..."}, why: "only kubelet/runc needs libcontainer"},
	{dep: "github.com/coreos/go-iptables/...", except: []string{"proxy/iptables", "examples/..."}, why: "only proxy/iptables needs it"},
	// Kubernetes' CEL libraries bring it: they count compilations.
	{dep: "github.com/prometheus/client_golang/...", except: append([]string{"store/metrics", "scheduler/metrics", "apiserver/metrics"}, celUsers...), why: "metrics are for who asks for them"},
	// hashicorp/raft itself brings it.
	{dep: "testing", except: []string{"store/storetest", "store/raft", "store/metrics", "store/etcdapi/etcdraft", "apiserver/client/clienttest", "kubelet/kubelettest/...", "internal/apitest", "internal/nstest", "examples/..."},
		why: "programs don't link test code"},
}
