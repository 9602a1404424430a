package helm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/inboard/inboard/internal/clients/cluster"
)

// world looks at a cluster, and runs Jobs where the library has no controller for them.
type world struct {
	dyn    dynamic.Interface
	cs     kubernetes.Interface
	mapper meta.RESTMapper
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func open(kubeconfig string) (*world, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	w := &world{}
	if w.dyn, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, err
	}
	if w.cs, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	w.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.cs.Discovery()))
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	if _, err := os.Stat(filepath.Join(cluster.Root(), "controller/job")); err != nil {
		w.done.Go(func() { w.runJobs(ctx) })
	}
	return w, nil
}

func (w *world) close() {
	w.cancel()
	w.done.Wait()
}

// field returns a field of an object, as text.
func (w *world) field(resource, name string, args []string) (string, error) {
	gvr, err := w.mapper.ResourceFor(schema.ParseGroupResource(resource).WithVersion(""))
	if err != nil {
		return "", err
	}
	u, err := w.dyn.Resource(gvr).Namespace("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil || len(args) == 0 {
		return "", err
	}
	path, _, _ := strings.Cut(args[0], "=")
	v, found, err := unstructured.NestedFieldNoCopy(u.Object, strings.Split(path, ".")...)
	if err == nil && !found {
		err = fmt.Errorf("%s has no %s", name, path)
	}
	return fmt.Sprint(v), err
}

// runJobs stands in for a controller of Jobs: it makes each Job's pod, and tells how that ended.
func (w *world) runJobs(ctx context.Context) {
	for ctx.Err() == nil {
		jobs, err := w.cs.BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
		if err == nil {
			for i := range jobs.Items {
				if err := w.runJob(ctx, &jobs.Items[i]); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
					fmt.Fprintln(os.Stderr, "the stand-in for the controller of jobs:", err)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *world) runJob(ctx context.Context, j *batchv1.Job) error {
	if j.Status.CompletionTime != nil || len(j.Status.Conditions) > 0 || j.DeletionTimestamp != nil {
		return nil
	}
	pods := w.cs.CoreV1().Pods(j.Namespace)
	name := j.Name + "-" + string(j.UID)[:8]
	p, err := pods.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		p = &corev1.Pod{ObjectMeta: j.Spec.Template.ObjectMeta, Spec: j.Spec.Template.Spec}
		p.Name, p.OwnerReferences = name, []metav1.OwnerReference{*metav1.NewControllerRef(j, batchv1.SchemeGroupVersion.WithKind("Job"))}
		_, err = pods.Create(ctx, p, metav1.CreateOptions{})
		return err
	}
	if err != nil || p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
		return err
	}
	now := metav1.Now()
	j.Status.StartTime = &now
	kinds := []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed}
	if j.Status.Failed = 1; p.Status.Phase == corev1.PodSucceeded {
		kinds = []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete}
		j.Status.Failed, j.Status.Succeeded, j.Status.CompletionTime = 0, 1, &now
	}
	for _, kind := range kinds {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now, LastProbeTime: now})
	}
	_, err = w.cs.BatchV1().Jobs(j.Namespace).UpdateStatus(ctx, j, metav1.UpdateOptions{})
	return err
}
