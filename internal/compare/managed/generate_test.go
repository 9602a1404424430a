package managed

import (
	"fmt"
	"math/rand"

	"github.com/inboard/inboard/internal/compare/diff"
)

type object = map[string]any

// pick returns one of several values.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.Intn(len(of))] }

// maybe sets a field of an object in one of n cases.
func maybe(r *rand.Rand, n int, in object, key string, value func() any) {
	if r.Intn(n) == 0 {
		in[key] = value()
	}
}

// some returns a map with some of the keys.
func some(r *rand.Rand, keys ...string) any {
	out := object{}
	for _, k := range keys {
		if r.Intn(2) == 0 {
			out[k] = fmt.Sprint(r.Intn(3))
		}
	}
	return out
}

// kind is a kind of objects that the sequences are about.
type kind struct {
	apiVersion, kind, path string
	// fill gives an object some of its fields. Few are wrong.
	fill func(r *rand.Rand, o object)
	// base has what every object needs.
	base        object
	status      func(r *rand.Rand) object
	scale       bool
	compareAlso []string
}

func (k *kind) object(r *rand.Rand, name string, full bool) object {
	meta := object{"name": name}
	o := object{"apiVersion": k.apiVersion, "kind": k.kind, "metadata": meta}
	maybe(r, 3, meta, "labels", func() any { return some(r, "x", "y") })
	maybe(r, 3, meta, "annotations", func() any { return some(r, "p", "q") })
	maybe(r, 8, meta, "finalizers", func() any { return []any{pick(r, "a.test/f", "b.test/f")} })
	if full {
		for key, v := range k.base {
			o[key] = diff.Copy(v)
		}
	}
	k.fill(r, o)
	maybe(r, 40, o, "nosuchfield", func() any { return 1 })
	maybe(r, 60, meta, "resourceVersion", func() any { return "1" })
	maybe(r, 60, meta, "uid", func() any { return "none" })
	maybe(r, 60, meta, "managedFields", func() any { return []any{} })
	return o
}

// within returns the object at a path, which it makes.
func within(o object, path ...string) object {
	for _, p := range path {
		next, ok := o[p].(object)
		if !ok {
			next = object{}
			o[p] = next
		}
		o = next
	}
	return o
}

var configMaps = kind{
	apiVersion: "v1", kind: "ConfigMap", path: "/api/v1/namespaces/default/configmaps",
	fill: func(r *rand.Rand, o object) {
		maybe(r, 1, o, "data", func() any { return some(r, "a", "b", "c", "d") })
		maybe(r, 6, o, "binaryData", func() any { return object{"e": pick(r, "YQ==", "Yg==")} })
	},
	compareAlso: []string{"data", "binaryData"},
}

var services = kind{
	apiVersion: "v1", kind: "Service", path: "/api/v1/namespaces/default/services",
	base: object{"spec": object{"ports": []any{object{"port": 80}}}},
	fill: func(r *rand.Rand, o object) {
		spec := within(o, "spec")
		maybe(r, 2, spec, "selector", func() any { return some(r, "app", "tier") })
		maybe(r, 3, spec, "sessionAffinity", func() any { return pick(r, "None", "ClientIP") })
		maybe(r, 2, spec, "ports", func() any {
			ports := []any{object{"port": 80, "name": "a"}}
			if r.Intn(2) == 0 {
				ports = append(ports, object{"port": 80, "protocol": "UDP", "name": "b"})
			}
			if r.Intn(3) == 0 {
				ports = append(ports, object{"port": 443, "name": pick(r, "c", "d"), "targetPort": pick[any](r, "https", 8443)})
			}
			return ports
		})
	},
}

func container(r *rand.Rand, name string) object {
	c := object{"name": name, "image": pick(r, "i:1", "i:2")}
	maybe(r, 3, c, "args", func() any { return []any{pick(r, "x", "y")} })
	maybe(r, 2, c, "env", func() any {
		env := []any{object{"name": "A", "value": pick(r, "1", "2")}}
		if r.Intn(2) == 0 {
			env = append(env, object{"name": pick(r, "B", "B", "A"), "value": "1"})
		}
		return env
	})
	maybe(r, 3, c, "ports", func() any {
		return []any{object{"containerPort": 80}, object{"containerPort": 80, "protocol": pick(r, "UDP", "SCTP", "TCP")}}
	})
	maybe(r, 3, c, "resources", func() any { return object{"limits": object{"cpu": pick[any](r, "1000m", "1", 1, "2")}} })
	maybe(r, 50, c, "name", func() any { return nil })
	return c
}

var deployments = kind{
	apiVersion: "apps/v1", kind: "Deployment", path: "/apis/apps/v1/namespaces/default/deployments",
	base: object{"spec": object{
		"selector": object{"matchLabels": object{"app": "a"}},
		"template": object{"metadata": object{"labels": object{"app": "a"}}, "spec": object{"containers": []any{object{"name": "c1", "image": "i:1"}}}},
	}},
	fill: func(r *rand.Rand, o object) {
		spec := within(o, "spec")
		pod := within(spec, "template", "spec")
		maybe(r, 3, spec, "replicas", func() any { return r.Intn(3) })
		maybe(r, 4, spec, "minReadySeconds", func() any { return r.Intn(3) })
		maybe(r, 4, spec, "strategy", func() any { return object{"type": pick(r, "Recreate", "RollingUpdate")} })
		maybe(r, 2, pod, "containers", func() any {
			out := []any{container(r, "c1")}
			if r.Intn(2) == 0 {
				out = append(out, container(r, "c2"))
			}
			return out
		})
		maybe(r, 4, pod, "nodeSelector", func() any { return some(r, "disk", "zone") })
		maybe(r, 4, pod, "tolerations", func() any { return []any{object{"key": pick(r, "a", "b"), "operator": "Exists"}} })
		maybe(r, 4, pod, "volumes", func() any { return []any{object{"name": pick(r, "v", "w"), "emptyDir": object{}}} })
		maybe(r, 6, pod, "imagePullSecrets", func() any { return []any{object{"name": pick(r, "s", "t")}} })
		maybe(r, 6, pod, "securityContext", func() any { return object{"runAsUser": r.Intn(2)} })
		maybe(r, 6, o, "status", func() any { return object{"replicas": r.Intn(2)} })
	},
	status: func(r *rand.Rand) object {
		s := object{"replicas": r.Intn(3)}
		maybe(r, 2, s, "conditions", func() any {
			return []any{object{"type": pick(r, "Available", "Progressing"), "status": pick(r, "True", "False")}}
		})
		return object{"status": s, "spec": object{"replicas": r.Intn(3)}}
	},
	scale:       true,
	compareAlso: []string{"spec", "status"},
}
