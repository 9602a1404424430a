package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/rest"
	"github.com/inboard/inboard/apiserver/kinds"
	"github.com/inboard/inboard/scheduler"
)

// cluster is what decisions are made on.
type cluster struct {
	name             string
	nodes            map[string]*corev1.Node
	running, waiting []*corev1.Pod
	classes          map[string]*schedulingv1.PriorityClass
	budgets          []*policyv1.PodDisruptionBudget
	builder          *scheduler.Builder
}

func load(ctx context.Context, o options, stdin io.Reader, stderr io.Writer) (*cluster, error) {
	c := &cluster{name: o.file, nodes: map[string]*corev1.Node{}, classes: map[string]*schedulingv1.PriorityClass{},
		builder: (*scheduler.Snapshot)(nil).Edit()}
	if o.file != "" {
		objects, err := readFile(o.file, stdin, false)
		for _, obj := range objects {
			c.add(obj)
		}
		return c, err
	}
	c.name = o.kubeconfig
	api, err := rest.New(rest.Config{Kubeconfig: o.kubeconfig, UserAgent: "scheduler-whatif"})
	if err != nil {
		return nil, err
	}
	defer api.Close()
	return c, c.read(ctx, api, stderr)
}

// read fills the cluster from an API server.
func (c *cluster) read(ctx context.Context, api client.Interface, stderr io.Writer) error {
	for _, k := range kinds.All() {
		gvr := k.GroupVersion().WithResource(k.Resource)
		needed := k.Kind == "Node" || k.Kind == "Pod"
		if !needed && !counts(k.Object) {
			continue
		}
		l, err := api.List(ctx, client.Ref{GroupVersionResource: gvr}, metav1.ListOptions{})
		switch {
		case err == nil:
		case !needed && (apierrors.IsForbidden(err) || apierrors.IsNotFound(err)):
			fmt.Fprintf(stderr, "scheduler-whatif: goes on without %s: %v\n", k.Resource, err)
			continue
		default:
			return err
		}
		for _, obj := range l.Items {
			if obj, ok := obj.(client.Object); ok {
				c.add(obj)
			}
		}
	}
	return nil
}

// counts tells whether decisions depend on objects of the type.
func counts(obj client.Object) bool {
	switch obj.(type) {
	case *corev1.Node, *corev1.Pod, *corev1.Namespace, *schedulingv1.PriorityClass, *policyv1.PodDisruptionBudget:
		return true
	}
	return watched(obj)
}

// watched tells whether a plugin looks at objects of the type, as it does at volumes and their claims.
func watched(obj client.Object) bool {
	same := func(x client.Object) bool { return reflect.TypeOf(x) == reflect.TypeOf(obj) }
	return slices.ContainsFunc(scheduler.DefaultPlugins(), func(p scheduler.WeightedPlugin) bool {
		w, ok := p.Plugin.(scheduler.Watcher)
		return ok && slices.ContainsFunc(w.Watches(), same)
	})
}

func (c *cluster) add(obj client.Object) {
	switch obj := obj.(type) {
	case *corev1.Node:
		c.nodes[obj.Name] = obj
		c.builder.SetNode(obj)
	case *corev1.Namespace:
		c.builder.SetNamespace(obj.Name, obj.Labels)
	case *schedulingv1.PriorityClass:
		c.classes[obj.Name] = obj
	case *policyv1.PodDisruptionBudget:
		c.budgets = append(c.budgets, obj)
	case *corev1.Pod:
		switch {
		case obj.Status.Phase == corev1.PodSucceeded || obj.Status.Phase == corev1.PodFailed:
		case obj.Spec.NodeName != "":
			c.running = append(c.running, obj)
			c.builder.AddPod(scheduler.NewPodInfo(obj), obj.Spec.NodeName)
		case obj.DeletionTimestamp == nil:
			c.waiting = append(c.waiting, obj)
		}
	case *corev1.PersistentVolume:
		if obj.Spec.ClaimRef == nil && (obj.Status.Phase == "" || obj.Status.Phase == corev1.VolumePending) { // its controller will say so
			obj.Status.Phase = corev1.VolumeAvailable
		}
		c.builder.SetObject(obj)
	default:
		c.builder.SetObject(obj)
	}
}

// readFile returns the objects of a file of YAML documents or JSON, lists and lists within lists included. In a
// manifest every field must be known and every object valid; in a cluster what has no meaning here is passed over.
func readFile(path string, stdin io.Reader, manifest bool) ([]client.Object, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	var out []client.Object
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err == nil {
			out, err = decode(out, doc, manifest)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
}

func decode(out []client.Object, doc []byte, manifest bool) ([]client.Object, error) {
	var head struct {
		metav1.TypeMeta
		Items []json.RawMessage
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return nil, err
	}
	var err error
	for _, item := range head.Items {
		if out, err = decode(out, item, manifest); err != nil {
			return nil, err
		}
	}
	gvk := schema.FromAPIVersionAndKind(head.APIVersion, head.Kind)
	switch k := kindOf(gvk); {
	case head.Items != nil || gvk.Empty() && len(bytes.TrimSpace(doc)) == 0:
		return out, nil
	case gvk.Kind == "" || gvk.Version == "":
		return nil, errors.New("an object has no apiVersion or no kind")
	case k != nil && (manifest || counts(k.Object)):
		obj, err := decodeAs(k, doc, manifest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", gvk.Kind, err)
		}
		return append(out, obj), nil
	case manifest:
		return nil, fmt.Errorf("don't know the kind %s of %s", head.Kind, head.APIVersion)
	}
	return out, nil
}

func kindOf(gvk schema.GroupVersionKind) *apiserver.Kind {
	for _, k := range kinds.All() {
		if k.GroupVersionKind == gvk {
			return &k
		}
	}
	return nil
}

// decodeAs does what the API server does to an object when it is created, as far as placement goes.
func decodeAs(k *apiserver.Kind, doc []byte, manifest bool) (client.Object, error) {
	obj := reflect.New(reflect.TypeOf(k.Object).Elem()).Interface().(client.Object)
	unmarshal := func(doc []byte, into any) error { return yaml.Unmarshal(doc, into) }
	if manifest {
		unmarshal = func(doc []byte, into any) error { return yaml.UnmarshalStrict(doc, into) }
	}
	if err := unmarshal(doc, obj); err != nil {
		return nil, err
	}
	if k.Namespaced && obj.GetNamespace() == "" {
		obj.SetNamespace(metav1.NamespaceDefault)
	}
	if k.Default != nil {
		k.Default(obj)
	}
	if manifest && k.Validate != nil {
		if errs := k.Validate(obj, nil); len(errs) > 0 {
			return nil, fmt.Errorf("%q is invalid: %w", obj.GetName(), errs.ToAggregate())
		}
	}
	return obj, nil
}
