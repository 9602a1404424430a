package kinds_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/apiserver/kinds/core"
)

func ExampleAll() {
	for _, k := range kinds.All() {
		fmt.Printf("%s/%s %v\n", k.GroupVersion(), k.Resource, k.ShortNames)
	}
	// Output:
	// v1/bindings []
	// v1/configmaps [cm]
	// v1/endpoints [ep]
	// v1/events [ev]
	// v1/limitranges [limits]
	// v1/namespaces [ns]
	// v1/nodes [no]
	// v1/persistentvolumeclaims [pvc]
	// v1/persistentvolumes [pv]
	// v1/pods [po]
	// v1/podtemplates []
	// v1/replicationcontrollers [rc]
	// v1/resourcequotas [quota]
	// v1/secrets []
	// v1/serviceaccounts [sa]
	// v1/services [svc]
	// apps/v1/controllerrevisions []
	// apps/v1/daemonsets [ds]
	// apps/v1/deployments [deploy]
	// apps/v1/replicasets [rs]
	// apps/v1/statefulsets [sts]
	// authentication.k8s.io/v1/selfsubjectreviews []
	// authentication.k8s.io/v1/tokenreviews []
	// authorization.k8s.io/v1/localsubjectaccessreviews []
	// authorization.k8s.io/v1/selfsubjectaccessreviews []
	// authorization.k8s.io/v1/selfsubjectrulesreviews []
	// authorization.k8s.io/v1/subjectaccessreviews []
	// autoscaling/v2/horizontalpodautoscalers [hpa]
	// batch/v1/cronjobs [cj]
	// batch/v1/jobs []
	// certificates.k8s.io/v1/certificatesigningrequests [csr]
	// certificates.k8s.io/v1/clustertrustbundles []
	// certificates.k8s.io/v1/podcertificaterequests []
	// coordination.k8s.io/v1/leases []
	// discovery.k8s.io/v1/endpointslices []
	// flowcontrol.apiserver.k8s.io/v1/flowschemas []
	// flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations []
	// networking.k8s.io/v1/ingressclasses []
	// networking.k8s.io/v1/ingresses [ing]
	// networking.k8s.io/v1/networkpolicies [netpol]
	// networking.k8s.io/v1/ipaddresses [ip]
	// networking.k8s.io/v1/servicecidrs []
	// node.k8s.io/v1/runtimeclasses []
	// policy/v1/poddisruptionbudgets [pdb]
	// rbac.authorization.k8s.io/v1/clusterrolebindings []
	// rbac.authorization.k8s.io/v1/clusterroles []
	// rbac.authorization.k8s.io/v1/rolebindings []
	// rbac.authorization.k8s.io/v1/roles []
	// resource.k8s.io/v1/deviceclasses []
	// resource.k8s.io/v1/devicetaintrules []
	// resource.k8s.io/v1/resourceclaims []
	// resource.k8s.io/v1/resourceclaimtemplates []
	// resource.k8s.io/v1/resourceslices []
	// scheduling.k8s.io/v1/priorityclasses [pc]
	// scheduling.k8s.io/v1beta1/podgroups []
	// storage.k8s.io/v1/csidrivers []
	// storage.k8s.io/v1/csinodes []
	// storage.k8s.io/v1/csistoragecapacities []
	// storage.k8s.io/v1/storageclasses [sc]
	// storage.k8s.io/v1/volumeattachments []
	// storage.k8s.io/v1/volumeattributesclasses [vac]
	// storagemigration.k8s.io/v1/storageversionmigrations []
}

// A row can be used without a server, such as to check manifests.
func Example_validate() {
	row := core.Pod()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}},
	}
	row.Default(pod)
	for _, err := range row.Validate(pod, nil) {
		fmt.Println(err)
	}
	// Output:
	// spec.containers[0].image: Required value
}
