package podsecurity

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	upstream "k8s.io/pod-security-admission/admission"
	admissionapi "k8s.io/pod-security-admission/admission/api"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

var (
	writes = flag.Int("writes", 20000, "random writes")
	seed   = flag.Uint64("seed", 1, "seed of the random choices")
)

// world has the namespaces and pods that both look at.
type world struct {
	*rand.Rand
	namespaces map[string]*corev1.Namespace
	pods       []*corev1.Pod
}

func (w *world) GetNamespace(_ context.Context, name string) (*corev1.Namespace, error) {
	if ns := w.namespaces[name]; ns != nil {
		return ns, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("namespaces"), name)
}

func (w *world) ListPods(context.Context, string) ([]*corev1.Pod, error) {
	return slices.Clone(w.pods), nil
}

func (w *world) pick(list ...string) string { return list[w.IntN(len(list))] }

// silent counts nothing.
type silent struct{ metrics.Recorder }

func (silent) RecordEvaluation(metrics.Decision, api.LevelVersion, metrics.Mode, api.Attributes) {}
func (silent) RecordExemption(api.Attributes)                                                    {}
func (silent) RecordError(bool, api.Attributes)                                                  {}

func (w *world) labels() map[string]string {
	out := map[string]string{}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		if w.IntN(3) > 0 {
			out["pod-security.kubernetes.io/"+mode] = w.pick("privileged", "baseline", "baseline", "restricted", "restricted", "nonsense")
		}
		if w.IntN(3) == 0 {
			out["pod-security.kubernetes.io/"+mode+"-version"] = w.pick("latest", "v1.0", "v1.20", "v1.24", "v1.37", "v1.99", "1.2")
		}
	}
	return out
}

// spec is a random pod's spec that keeps or violates any of the standards.
func (w *world) spec() corev1.PodSpec {
	c := corev1.Container{Name: "c", Image: w.pick("a", "b"), SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), RunAsNonRoot: ptr.To(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}}
	s := corev1.PodSpec{}
	for range w.IntN(3) {
		switch w.IntN(16) {
		case 0:
			c.SecurityContext.Privileged = ptr.To(true)
		case 1:
			c.SecurityContext.AllowPrivilegeEscalation = nil
		case 2:
			c.SecurityContext.RunAsNonRoot = nil
		case 3:
			c.SecurityContext.Capabilities = &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}
		case 4:
			c.SecurityContext.SeccompProfile = nil
		case 5:
			s.HostNetwork = true
		case 6:
			s.HostPID = true
		case 7:
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
		case 8:
			c.Ports = []corev1.ContainerPort{{HostPort: 80}}
		case 9:
			c.SecurityContext.RunAsUser = ptr.To[int64](0)
		case 10:
			s.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: w.pick("kernel.x", "net.ipv4.ping_group_range")}}}
		case 11:
			c.SecurityContext.ProcMount = ptr.To(corev1.UnmaskedProcMount)
		case 12:
			c.SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{User: "u"}
		case 13:
			c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: "h"}}}
		case 14:
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "n", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}})
		case 15:
			s.RuntimeClassName = ptr.To(w.pick("free", "bound", ""))
		}
	}
	s.Containers = []corev1.Container{c}
	if w.IntN(4) == 0 {
		s.InitContainers = []corev1.Container{c}
	}
	return s
}

func (w *world) pod(name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Spec: w.spec()}
	if w.IntN(2) == 0 {
		p.OwnerReferences = []metav1.OwnerReference{{Controller: ptr.To(true), UID: types.UID(w.pick("o1", "o2"))}}
	}
	return p
}

// attempt is a write, on both sides.
type attempt struct {
	api.AttributesRecord
	obj, old client.Object
}

func (w *world) attempt() *attempt {
	a := &attempt{}
	a.Namespace, a.Name, a.Operation = w.pick("a", "a", "a", "free"), "x", admissionv1.Create
	a.Username = w.pick("ann", "ann", "ann", "ann", "root")
	if w.IntN(3) == 0 {
		a.Operation = admissionv1.Update
	}
	group, version, kind := "apps", "v1", ""
	template := corev1.PodTemplateSpec{Spec: w.spec()}
	switch w.IntN(11) {
	case 0, 1, 2:
		return w.podAttempt(a)
	case 3, 4:
		return w.namespaceAttempt(a)
	case 5:
		kind, a.obj = "Deployment", &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: template}}
	case 6:
		kind, a.obj = "StatefulSet", &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: template}}
	case 7:
		kind, a.obj = "DaemonSet", &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template}}
	case 8:
		group, kind, a.obj = "batch", "Job", &batchv1.Job{Spec: batchv1.JobSpec{Template: template}}
	case 9:
		group, kind, a.obj = "batch", "CronJob", &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}
	case 10:
		rc := &corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Template: &template}}
		if w.IntN(3) == 0 {
			rc.Spec.Template = nil
		}
		group, kind, a.obj = "", "ReplicationController", rc
	}
	a.Kind = schema.GroupVersionKind{Group: group, Version: version, Kind: kind}
	a.Resource = schema.GroupVersionResource{Group: group, Version: version, Resource: plural(kind)}
	a.Subresource = w.pick("", "", "", "status")
	a.old = a.obj
	return a
}

func plural(kind string) string {
	return map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs", "CronJob": "cronjobs",
		"ReplicationController": "replicationcontrollers"}[kind]
}

func (w *world) podAttempt(a *attempt) *attempt {
	a.Kind, a.Resource = corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithResource("pods")
	a.Subresource = w.pick("", "", "", "status", "ephemeralcontainers", "resize")
	old := w.pod("x")
	now := old.DeepCopy()
	if a.Operation == admissionv1.Update {
		switch w.IntN(4) {
		case 0:
			now.Spec.Containers[0].Image = "other"
		case 1:
			now.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "i"}}}
			if w.IntN(2) == 0 {
				old.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: w.pick("i", "j")}}}
			}
		case 2:
			now.Labels = map[string]string{"a": "b"}
		}
	}
	a.obj, a.old = now, old
	return a
}

func (w *world) namespaceAttempt(a *attempt) *attempt {
	a.Kind, a.Resource = corev1.SchemeGroupVersion.WithKind("Namespace"), corev1.SchemeGroupVersion.WithResource("namespaces")
	a.Name = a.Namespace
	now := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: w.labels()}}
	old := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: w.labels()}}
	if w.IntN(6) == 0 {
		old.Labels = now.Labels
	}
	a.obj, a.old = now, old
	return a
}

// said is what comes of a write.
type said struct {
	err      string
	reason   metav1.StatusReason
	warnings []string
	audit    string
}

func TestPodSecurity(t *testing.T) {
	w := &world{Rand: rand.New(rand.NewPCG(*seed, 0)), namespaces: map[string]*corev1.Namespace{}}
	var audited string
	ours, err := apiserver.PodSecurity(apiserver.PodSecurityConfig{Enforce: "baseline:v1.30", Warn: "restricted", Users: []string{"root"},
		RuntimeClasses: []string{"free"}, Namespaces: []string{"free"}, Audited: func(_ *apiserver.AdmissionRequest, v string) { audited = v }})
	if err != nil {
		t.Fatal(err)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs := &upstream.Admission{Evaluator: evaluator, Metrics: silent{}, NamespaceGetter: w, PodLister: w, Configuration: &admissionapi.PodSecurityConfiguration{
		Defaults:   admissionapi.PodSecurityDefaults{Enforce: "baseline", EnforceVersion: "v1.30", Audit: "privileged", AuditVersion: "latest", Warn: "restricted", WarnVersion: "latest"},
		Exemptions: admissionapi.PodSecurityExemptions{Usernames: []string{"root"}, RuntimeClasses: []string{"free"}, Namespaces: []string{"free"}}}}
	if err := errors.Join(theirs.CompleteConfiguration(), theirs.ValidateConfiguration()); err != nil {
		t.Fatal(err)
	}
	refused, warned, auditedN := 0, 0, 0
	for i := range *writes {
		for _, ns := range []string{"a", "free"} {
			w.namespaces[ns] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: w.labels()}}
		}
		w.pods = nil
		for j := range w.IntN(6) {
			w.pods = append(w.pods, w.pod(fmt.Sprint("p", j)))
		}
		a := w.attempt()
		audited = ""
		got := w.ours(ours, a)
		got.audit = audited
		want := w.theirs(theirs, a)
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Fatalf("%d: %s %s/%s: \n%+v\nin Kubernetes\n%+v", i, a.Operation, a.Resource.Resource, a.Subresource, got, want)
		}
		if got.err != "" {
			refused++
		}
		if len(got.warnings) > 0 {
			warned++
		}
		if got.audit != "" {
			auditedN++
		}
	}
	t.Logf("%d writes: %d refused, %d with warnings, %d audited", *writes, refused, warned, auditedN)
	if least := *writes / 40; refused < least || warned < least || auditedN < least {
		t.Error("the writes are poor")
	}
}

func (w *world) ours(p apiserver.AdmissionPlugin, a *attempt) said {
	var out said
	r := &apiserver.AdmissionRequest{
		Operation: apiserver.Operation(a.Operation), User: &apiserver.Identity{User: a.Username}, Kind: &apiserver.Kind{GroupVersionKind: a.Kind},
		Ref:    client.Ref{GroupVersionResource: a.Resource, Namespace: a.Namespace, Name: a.Name, Subresource: a.Subresource},
		Object: a.obj, Warn: func(text string) { out.warnings = append(out.warnings, text) },
		Lookup: func(ref client.Ref) (client.Object, bool, error) {
			ns, err := w.GetNamespace(context.Background(), ref.Name)
			return ns, err == nil, nil
		},
		List: func(client.Ref) (list []client.Object, err error) {
			for _, p := range w.pods {
				list = append(list, p)
			}
			return list, nil
		},
	}
	if a.Operation == admissionv1.Update {
		r.Old = a.old
	}
	if err := p.Validate(context.Background(), r); err != nil {
		out.err, out.reason = err.Error(), apierrors.ReasonForError(err)
	}
	return out
}

func (w *world) theirs(p *upstream.Admission, a *attempt) said {
	a.Object, a.OldObject = a.obj, a.old
	r := p.Validate(context.Background(), &a.AttributesRecord)
	out := said{warnings: r.Warnings, audit: r.AuditAnnotations[api.AuditViolationsAnnotationKey]}
	if !r.Allowed {
		out.err, out.reason = r.Result.Message, r.Result.Reason
	}
	return out
}
