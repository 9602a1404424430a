package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/internal/selfimage"
)

const (
	demoName       = "web"
	demoRepository = "demo/web"
	demoPort       = 8080
	demoNodePort   = 30080
	// demoHost is the registry's name in the image reference; the runtime is led to the demo's
	// own registry by a mirror, whose port differs from run to run.
	demoHost = "demo.inboard.internal"
	// demoPatience bounds the wait for the demo to answer.
	demoPatience = 2 * time.Minute
)

// listenDemo opens the port of the demo's registry, to which the runtime is led from its start.
func (c *cluster) listenDemo() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	c.mirrors[demoHost] = "http://" + ln.Addr().String()
	c.demoListener = ln
	return nil
}

// demoImage returns the image and the reference it goes by, which names its content: when the program
// changes, so does the reference, and the Deployment rolls out the new one.
func demoImage() (v1.Image, string, error) {
	files, err := selfimage.Executable("/web")
	if err != nil {
		return nil, "", err
	}
	img, err := selfimage.New(selfimage.Config{Files: files, Entrypoint: []string{"/web", "web"}, User: "65534:65534"})
	if err != nil {
		return nil, "", err
	}
	digest, err := img.Digest()
	return img, demoRepository + ":" + digest.Hex[:12], err
}

// startDemo serves the image on loopback and deploys it. The image is never held: its bytes are read
// from the executable while they are pulled.
func (c *cluster) startDemo(ctx context.Context) error {
	from := time.Now()
	img, ref, err := demoImage()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	registry, err := selfimage.NewRegistry(map[string]v1.Image{ref: img})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	c.start(ctx, &c.parts, "demo registry", func(ctx context.Context) error { return serveHTTP(ctx, c.demoListener, registry) })
	admin := c.as("admin", apiserver.GroupMasters)
	if err := ensure(ctx, admin, demoDeployment(demoHost+"/"+ref), func(old, new *appsv1.Deployment) {
		replicas := old.Spec.Replicas // somebody may have scaled it
		old.Spec, old.Spec.Replicas = new.Spec, replicas
	}); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := ensure(ctx, admin, demoService(), func(_, _ *corev1.Service) {}); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	c.say("demo: deploying %s; its image is this program", demoName)
	c.start(ctx, &c.parts, "demo", func(ctx context.Context) error {
		c.watchDemo(ctx, admin, from)
		<-ctx.Done()
		return nil
	})
	return nil
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ensure creates obj, or brings the one that exists up to date. It looks first: creating a service again
// fails for its node port, which is taken, not for its name.
func ensure[T client.Object](ctx context.Context, c client.Interface, obj T, update func(old, new T)) error {
	typed := client.For[T](c)
	old, err := typed.Get(ctx, obj.GetNamespace(), obj.GetName())
	if apierrors.IsNotFound(err) {
		_, err = typed.Create(ctx, obj)
		return err
	}
	if err != nil {
		return err
	}
	update(old, obj)
	_, err = typed.Update(ctx, old)
	return err
}

func demoDeployment(image string) *appsv1.Deployment {
	replicas := int32(3)
	labels := map[string]string{"app": demoName}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: demoName, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: demoName, Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
					Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: demoPort}},
					Env: []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
						FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
					ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
						HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}}},
				}}},
			},
		},
	}
}

func demoService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: demoName},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeNodePort,
			Selector: map[string]string{"app": demoName},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http"),
				NodePort: demoNodePort}},
		},
	}
}

// watchDemo says when the demo answers, and where.
func (c *cluster) watchDemo(ctx context.Context, admin client.Interface, from time.Time) {
	deadline, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		for _, url := range c.demoURLs(deadline, admin) {
			if answer := get(deadline, url); answer != "" {
				c.say("demo: %s answers %q, %s after the deployment", url, answer, took(from))
				return
			}
		}
		select {
		case <-deadline.Done():
			if ctx.Err() == nil {
				c.say("demo: no answer after %v; see %s describe pod", demoPatience, kubectl())
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// demoURLs are where the demo can be reached: the service's node port, or without a proxy the pods.
func (c *cluster) demoURLs(ctx context.Context, admin client.Interface) []string {
	if c.has(theProxy) && c.runtime == "runc" {
		return []string{fmt.Sprintf("http://127.0.0.1:%d", demoNodePort)}
	}
	pods, err := client.For[*corev1.Pod](admin).List(ctx, metav1.NamespaceDefault, metav1.ListOptions{LabelSelector: "app=" + demoName})
	if err != nil {
		return nil
	}
	var urls []string
	for _, p := range pods.Items {
		if p.Status.PodIP != "" {
			urls = append(urls, fmt.Sprintf("http://%s:%d", p.Status.PodIP, demoPort))
		}
	}
	return urls
}
