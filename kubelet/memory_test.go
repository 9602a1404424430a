package kubelet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/inboard/inboard/kubelet"
)

// memory is a Runtime whose containers are plain data: they end when a test says so.
type memory struct {
	mu     sync.Mutex
	boxes  map[string]*kubelet.Sandbox
	n      int
	starts map[string][]time.Time // by container name
	events chan string
	closed bool
	// life is how long a container runs, 0 for ever, and how it ends.
	life func(name string, attempt uint32) (time.Duration, int)
	// fault may fail a call of a method.
	fault func(method string) error
	// exec answers an Exec.
	exec func(cmd []string) (int, error)
	wg   sync.WaitGroup
	stop chan struct{}
}

func newMemory() *memory {
	return &memory{boxes: map[string]*kubelet.Sandbox{}, starts: map[string][]time.Time{},
		events: make(chan string, 1000), stop: make(chan struct{})}
}

func (m *memory) call(method string) error {
	if m.fault != nil {
		return m.fault(method)
	}
	return nil
}

func (m *memory) Info() kubelet.RuntimeInfo { return kubelet.RuntimeInfo{Name: "memory", Version: "1"} }

func (m *memory) PullImage(_ context.Context, ref string, _ kubelet.Auth, _ func(kubelet.PullProgress)) (kubelet.Image, error) {
	return kubelet.Image{ID: "sha256:1", Names: []string{ref}}, m.call("PullImage")
}

func (m *memory) Image(_ context.Context, ref string) (kubelet.Image, error) {
	return kubelet.Image{ID: "sha256:1", Names: []string{ref}}, m.call("Image")
}

func (m *memory) Images(context.Context) ([]kubelet.Image, error) { return nil, m.call("Images") }
func (m *memory) RemoveImage(context.Context, string) error       { return m.call("RemoveImage") }

func (m *memory) RunSandbox(_ context.Context, cfg kubelet.SandboxConfig) (kubelet.Sandbox, error) {
	if err := m.call("RunSandbox"); err != nil {
		return kubelet.Sandbox{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	sb := &kubelet.Sandbox{ID: fmt.Sprint("sb", m.n), Config: cfg, Ready: true, CreatedAt: time.Now(),
		IPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(m.n)})}}
	m.boxes[sb.ID] = sb
	return m.copy(sb), nil
}

func (m *memory) copy(sb *kubelet.Sandbox) kubelet.Sandbox {
	out := *sb
	out.Containers = slices.Clone(sb.Containers)
	return out
}

func (m *memory) StopSandbox(_ context.Context, id string) error {
	if err := m.call("StopSandbox"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if sb := m.boxes[id]; sb != nil {
		sb.Ready = false
		for i := range sb.Containers {
			m.end(sb, &sb.Containers[i], 137)
		}
	}
	return nil
}

func (m *memory) RemoveSandbox(_ context.Context, id string) error {
	if err := m.call("RemoveSandbox"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.boxes, id)
	return nil
}

func (m *memory) Sandboxes(context.Context) ([]kubelet.Sandbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []kubelet.Sandbox
	for _, sb := range m.boxes {
		out = append(out, m.copy(sb))
	}
	return out, nil
}

func (m *memory) Sandbox(_ context.Context, id string) (kubelet.Sandbox, error) {
	if err := m.call("Sandbox"); err != nil {
		return kubelet.Sandbox{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if sb := m.boxes[id]; sb != nil {
		return m.copy(sb), nil
	}
	return kubelet.Sandbox{}, kubelet.ErrNotFound
}

func (m *memory) CreateContainer(_ context.Context, sandbox string, cfg kubelet.ContainerConfig) (string, error) {
	if err := m.call("CreateContainer"); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sb := m.boxes[sandbox]
	if sb == nil {
		return "", kubelet.ErrNotFound
	}
	m.n++
	c := kubelet.Container{ID: fmt.Sprint("c", m.n), Name: cfg.Name, Attempt: cfg.Attempt, Image: cfg.Image,
		ImageID: "sha256:1", CreatedAt: time.Now(), LogPath: cfg.LogPath}
	sb.Containers = append(sb.Containers, c)
	return c.ID, nil
}

// find wants m.mu held.
func (m *memory) find(id string) (*kubelet.Sandbox, *kubelet.Container) {
	for _, sb := range m.boxes {
		for i := range sb.Containers {
			if sb.Containers[i].ID == id {
				return sb, &sb.Containers[i]
			}
		}
	}
	return nil, nil
}

func (m *memory) StartContainer(_ context.Context, id string) error {
	if err := m.call("StartContainer"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, c := m.find(id)
	if c == nil {
		return kubelet.ErrNotFound
	}
	c.State, c.StartedAt = kubelet.ContainerRunning, time.Now()
	m.starts[c.Name] = append(m.starts[c.Name], time.Now())
	if m.life == nil {
		return nil
	}
	if life, code := m.life(c.Name, c.Attempt); life > 0 {
		m.wg.Go(func() {
			select {
			case <-time.After(life):
			case <-m.stop:
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if sb, c := m.find(id); c != nil {
				m.end(sb, c, code)
			}
		})
	}
	return nil
}

// end wants m.mu held.
func (m *memory) end(sb *kubelet.Sandbox, c *kubelet.Container, code int) {
	if c.State == kubelet.ContainerExited {
		return
	}
	c.State, c.ExitCode, c.FinishedAt = kubelet.ContainerExited, code, time.Now()
	select {
	case m.events <- sb.Config.UID:
	default:
	}
}

func (m *memory) StopContainer(_ context.Context, id string, _ time.Duration) error {
	if err := m.call("StopContainer"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if sb, c := m.find(id); c != nil {
		m.end(sb, c, 143)
	}
	return nil
}

func (m *memory) RemoveContainer(_ context.Context, id string) error {
	if err := m.call("RemoveContainer"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if sb, _ := m.find(id); sb != nil {
		sb.Containers = slices.DeleteFunc(sb.Containers, func(c kubelet.Container) bool { return c.ID == id })
	}
	return nil
}

func (m *memory) Exec(_ context.Context, _ string, cmd []string, _ io.Reader, _, _ io.Writer) (int, error) {
	if m.exec == nil {
		return 0, errors.New("no exec")
	}
	return m.exec(cmd)
}

func (m *memory) Events() <-chan string { return m.events }

func (m *memory) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.stop)
	}
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}
