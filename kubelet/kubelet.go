// Package kubelet runs the pods of one node. A [Kubelet] registers its node with any Kubernetes
// API, watches the pods that are bound to it, has a [Runtime] run their containers, and reports
// what became of them. Its counterpart is Kubernetes' kubelet, whose observable behaviour it has:
// the states, conditions, reasons and events are the same.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/inboard/inboard/apiserver/client"
	"github.com/inboard/inboard/apiserver/client/replica"
	"github.com/inboard/inboard/internal/events"
)

// Kubelet runs the pods of one node.
type Kubelet struct {
	cfg         Config
	log         *slog.Logger
	pods        client.Typed[*corev1.Pod]
	recorder    *events.Recorder
	podView     *replica.Replica[*corev1.Pod]
	services    *replica.Replica[*corev1.Service]
	sources     *apiSources
	volumes     *volumes
	agent       *nodeAgent
	probeClient *http.Client
	logDir      string
	hostDNS     DNSConfig
	runtimeName string
	memory      int64
	capacity    corev1.ResourceList
	allocatable corev1.ResourceList
	listener    net.Listener
	port        int32
	ready       chan struct{}

	mu      sync.Mutex
	ctx     context.Context // of the workers, while Run runs
	synced  bool
	workers map[types.UID]*worker
	running sync.WaitGroup
}

// New returns a Kubelet that does nothing until Run. The error names the field of cfg that is
// wrong.
func New(cfg Config) (*Kubelet, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	info := cfg.Runtime.Info()
	k := &Kubelet{
		cfg: cfg, log: cfg.Logger, pods: client.For[*corev1.Pod](cfg.Client),
		probeClient: newProbeClient(), logDir: filepath.Join(cfg.Dir, "logs"), runtimeName: info.Name,
		ready: make(chan struct{}), workers: map[types.UID]*worker{},
	}
	if _, err := k.pods.Resource(); err != nil {
		return nil, fmt.Errorf("kubelet: %w", err)
	}
	if k.recorder, err = events.New(events.Config{Client: cfg.Client, Component: "kubelet", Host: cfg.NodeName, Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	if k.podView, err = replica.New(replica.Config[*corev1.Pod]{Client: cfg.Client, FieldSelector: "spec.nodeName=" + cfg.NodeName, Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	k.podView.Subscribe(k.podChanged)
	if k.services, err = replica.New(replica.Config[*corev1.Service]{Client: cfg.Client, Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	k.sources = &apiSources{client: cfg.Client, services: k.services}
	k.volumes = &volumes{dir: filepath.Join(cfg.Dir, "pods"), src: k.sources, privileged: info.Privileged && os.Geteuid() == 0}
	k.agent = &nodeAgent{k: k, nodes: client.For[*corev1.Node](cfg.Client), leases: client.For[*coordinationv1.Lease](cfg.Client)}
	return k, nil
}

// Ready is closed when the node is registered and the pods that are bound to it are known.
func (k *Kubelet) Ready() <-chan struct{} { return k.ready }

// Run runs the node until ctx ends. Before it returns it closes the runtime and removes all
// volumes and logs, so that nothing is left of the pods; the API still has them, and a kubelet of
// this name that starts later runs them again. It returns nil when ctx ended it. Call it once.
func (k *Kubelet) Run(ctx context.Context) error {
	err := k.begin()
	if err == nil {
		err = k.serve(ctx)
	}
	return errors.Join(err, k.end())
}

// begin clears what a predecessor that was killed left behind, and looks at the host.
func (k *Kubelet) begin() error {
	if err := k.clear(); err != nil {
		return fmt.Errorf("kubelet: can't clear what an earlier kubelet left in %s: %w", k.cfg.Dir, err)
	}
	// Volumes hold secrets, which other users of the machine must not read. Containers get them mounted;
	// plain processes, which may run as other users, go through their folder's name, which is not told.
	volumes := os.FileMode(0o750)
	if !k.volumes.privileged {
		volumes = 0o711
	}
	if err := errors.Join(os.MkdirAll(k.cfg.Dir, 0o755), os.Mkdir(k.volumes.dir, volumes), os.Mkdir(k.logDir, 0o755)); err != nil {
		return fmt.Errorf("kubelet: can't use Config.Dir: %w", err)
	}
	m := readMachine(k.cfg.Dir)
	k.memory = m.Memory
	k.capacity, k.allocatable = capacityOf(m, k.cfg.MaxPods, k.cfg.Capacity, k.cfg.Reserved)
	if text, err := os.ReadFile(k.cfg.ResolvConf); err == nil {
		k.hostDNS = parseResolvConf(string(text))
	}
	return k.listen()
}

// clear removes volumes and logs. What is mounted below the volumes may be a folder of the host, so
// nothing is removed there while something still is.
func (k *Kubelet) clear() error {
	err := unmountBelow(k.volumes.dir)
	if err == nil {
		err = os.RemoveAll(k.volumes.dir)
	}
	return errors.Join(err, os.RemoveAll(k.logDir))
}

// end stops all containers by closing the runtime, then removes what they used.
func (k *Kubelet) end() error {
	err := k.cfg.Runtime.Close()
	if k.listener != nil {
		_ = k.listener.Close()
	}
	return errors.Join(err, k.clear())
}

func (k *Kubelet) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		// First what may still begin to work on pods, then that work.
		wg.Wait()
		k.running.Wait()
	}()
	failed := make(chan error, 8)
	start := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("kubelet: %s: %w", what, err)
			}
		})
	}
	k.mu.Lock()
	k.ctx = ctx
	k.mu.Unlock()
	start("events", k.recorder.Run)
	start("services", k.services.Run)
	start("runtime", k.relay)
	if k.listener != nil {
		start("server", k.serveHTTPS)
	}
	if err := k.agent.register(ctx); err != nil {
		return nil // ctx ended
	}
	wg.Go(func() { k.agent.run(ctx) })
	select {
	case <-k.services.Ready():
	case <-ctx.Done():
		return nil
	}
	start("pods", k.podView.Run)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// relay tells the workers what the runtime tells.
func (k *Kubelet) relay(ctx context.Context) error {
	ch := k.cfg.Runtime.Events()
	for {
		select {
		case <-ctx.Done():
			return nil
		case uid, ok := <-ch:
			if !ok {
				return errors.New("the runtime was closed")
			}
			k.mu.Lock()
			w := k.workers[types.UID(uid)]
			k.mu.Unlock()
			if w != nil {
				w.news()
			}
		}
	}
}

// podChanged follows the view of the pods.
func (k *Kubelet) podChanged(c replica.Change[*corev1.Pod]) {
	switch c.Kind {
	case replica.Synced:
		k.begun()
	case replica.Deleted:
		k.mu.Lock()
		w := k.workers[c.Old.UID]
		k.mu.Unlock()
		if w != nil {
			w.update(c.Old, true)
		}
	default:
		if c.Old != nil && c.Old.UID != c.New.UID {
			k.podChanged(replica.Change[*corev1.Pod]{Old: c.Old, Kind: replica.Deleted})
		}
		k.mu.Lock()
		w, synced := k.workers[c.New.UID], k.synced
		k.mu.Unlock()
		switch {
		case w != nil:
			w.update(c.New, false)
		case synced:
			k.adopt(c.New)
		}
	}
}

// begun starts the pods that were bound before the kubelet began, the oldest first.
func (k *Kubelet) begun() {
	k.mu.Lock()
	if k.synced {
		k.mu.Unlock()
		return
	}
	k.synced = true
	k.mu.Unlock()
	pods := k.podView.List("")
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for _, p := range pods {
		k.adopt(p)
	}
	close(k.ready)
}

// adopt begins to work on a pod, unless the node can't run it.
func (k *Kubelet) adopt(pod *corev1.Pod) {
	w := newWorker(k, pod)
	if !terminal(pod) && pod.DeletionTimestamp == nil {
		if r := k.refuse(pod); r != nil {
			w.state.Rejected = r
			w.rejected = true
			k.event(pod, corev1.EventTypeWarning, r.Reason, r.Message)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.workers[pod.UID] = w
	ctx := k.ctx
	k.running.Go(func() {
		w.run(ctx)
		close(w.finished)
		k.sources.tokens.forget(pod.UID)
		k.mu.Lock()
		delete(k.workers, pod.UID)
		k.mu.Unlock()
	})
}

// refuse tells why a pod can't run here. No pod is refused by what the kubelet remembers of its node alone: labels, taints
// and capacity may have changed since the last heartbeat, and the scheduler has seen it.
func (k *Kubelet) refuse(pod *corev1.Pod) *rejection {
	judge := func(node *corev1.Node) *rejection {
		k.mu.Lock()
		defer k.mu.Unlock()
		return admit(node, k.admitted(), pod)
	}
	r := judge(k.agent.nodeNow())
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(k.ctx, nodeReadTime)
	defer cancel()
	node, err := k.agent.nodes.Get(ctx, "", k.cfg.NodeName)
	if err != nil {
		k.log.Warn("can't read the node; a pod is judged by how it was", "pod", pod.Namespace+"/"+pod.Name, "err", err)
		return r
	}
	return judge(node)
}

func terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// admitted returns the pods that take up room on the node; k.mu is held.
func (k *Kubelet) admitted() []*corev1.Pod {
	out := make([]*corev1.Pod, 0, len(k.workers))
	for _, w := range k.workers {
		w.mu.Lock()
		pod := w.pod
		w.mu.Unlock()
		if w.rejected || terminal(pod) {
			continue
		}
		out = append(out, pod)
	}
	return out
}

func (k *Kubelet) hostIPs() []string {
	out := make([]string, 0, len(k.cfg.NodeIPs))
	for _, ip := range k.cfg.NodeIPs {
		out = append(out, ip.String())
	}
	return out
}

func (k *Kubelet) event(obj client.Object, eventType, reason, message string) {
	k.recorder.Event(obj, eventType, reason, message)
}

// containerEvent is event for one container of a pod.
func (k *Kubelet) containerEvent(pod *corev1.Pod, container, eventType, reason, message string) {
	kind := "containers"
	if isInit(pod, container) {
		kind = "initContainers"
	}
	k.recorder.Event(events.FieldPath(pod, "spec."+kind+"{"+container+"}"), eventType, reason, message)
}
