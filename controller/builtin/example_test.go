package builtin_test

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/controller/builtin"
	"github.com/inboard/inboard/store"
)

// All built-in controllers on an API server in the same process: a Deployment becomes pods.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	st, err := store.Open(store.Config{})
	if err != nil {
		panic(err)
	}
	defer st.Close()
	server, err := apiserver.New(apiserver.Config{Store: st, Kinds: kinds.All()})
	if err != nil {
		panic(err)
	}
	group, err := builtin.New(builtin.Config{Client: server.Client(apiserver.Identity{User: "system:kube-controller-manager"})})
	if err != nil {
		panic(err)
	}
	ended := make(chan error)
	go func() { ended <- server.Run(ctx) }()
	<-server.Ready()
	go func() { ended <- group.Run(ctx) }()

	me := server.Client(apiserver.Identity{User: "me", Groups: []string{apiserver.GroupMasters}})
	pods, err := client.For[*corev1.Pod](me).Watch(ctx, "default", metav1.ListOptions{})
	if err != nil {
		panic(err)
	}
	labels := map[string]string{"app": "web"}
	replicas := int32(2)
	if _, err = client.For[*appsv1.Deployment](me).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			},
		},
	}); err != nil {
		panic(err)
	}
	for range replicas {
		pod := (<-pods.ResultChan()).Object.(*corev1.Pod)
		fmt.Println(pod.Labels["app"], pod.OwnerReferences[0].Kind)
	}
	cancel()
	fmt.Println(<-ended, <-ended)
	// Output:
	// web ReplicaSet
	// web ReplicaSet
	// <nil> <nil>
}
