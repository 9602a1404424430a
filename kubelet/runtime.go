package kubelet

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"
)

// Runtime runs pod sandboxes and the containers in them. The kubelet decides; the runtime acts.
// Package kubelet/runc implements it with libcontainer, kubelet/process with plain processes, and
// the suite in kubelettest holds both to the same rules:
//
//   - every method may be called again after a failure or a restart of the program, and stopping or
//     removing what is gone already is no error;
//   - what runs outlives neither Close nor, as far as the kernel allows, the program;
//   - methods are safe for concurrent use, and return soon after ctx ends.
type Runtime interface {
	// Info describes the runtime for the node's status.
	Info() RuntimeInfo

	// PullImage fetches an image and unpacks it; a layer that is there already is not fetched
	// again. Progress may be nil. Errors: ErrImageNotFound, ErrInvalidImageName, others.
	PullImage(ctx context.Context, ref string, auth Auth, progress func(PullProgress)) (Image, error)
	// Image returns an image that is present, or ErrImageNotFound.
	Image(ctx context.Context, ref string) (Image, error)
	// Images returns all images that are present.
	Images(ctx context.Context) ([]Image, error)
	RemoveImage(ctx context.Context, id string) error

	// RunSandbox makes a pod's shared surroundings: its network namespace and address, its
	// cgroup, its log directory.
	RunSandbox(ctx context.Context, cfg SandboxConfig) (Sandbox, error)
	// StopSandbox kills what still runs in the sandbox and frees its address.
	StopSandbox(ctx context.Context, id string) error
	RemoveSandbox(ctx context.Context, id string) error
	// Sandboxes returns all sandboxes, stopped ones too, with their containers.
	Sandboxes(ctx context.Context) ([]Sandbox, error)
	// Sandbox returns one sandbox with its containers, or ErrNotFound. The kubelet asks for it
	// after each event, so it must be cheap.
	Sandbox(ctx context.Context, id string) (Sandbox, error)

	CreateContainer(ctx context.Context, sandboxID string, cfg ContainerConfig) (id string, err error)
	StartContainer(ctx context.Context, id string) error
	// StopContainer sends the image's stop signal, and SIGKILL when grace has passed. It returns
	// when the container has exited.
	StopContainer(ctx context.Context, id string, grace time.Duration) error
	RemoveContainer(ctx context.Context, id string) error
	// Exec runs a command in a running container and returns its exit code.
	Exec(ctx context.Context, id string, cmd []string, stdin io.Reader, stdout, stderr io.Writer) (exitCode int, err error)

	// Events delivers a pod's UID whenever something happened to it that its state shows, such
	// as a container's exit. Events may be merged; the channel is closed by Close.
	Events() <-chan string

	// Close stops and removes everything that the runtime runs, at once. Images stay. It may be
	// called again.
	Close() error
}

// Errors of a Runtime; test with errors.Is.
var (
	ErrImageNotFound    = errors.New("image not found")
	ErrInvalidImageName = errors.New("invalid image name")
	ErrNotFound         = errors.New("no such sandbox or container")
	// ErrNotRunning means that a command can't be run in a container that does not run.
	ErrNotRunning = errors.New("container is not running")
)

// RuntimeInfo describes a runtime.
type RuntimeInfo struct {
	// Name and Version are joined to "name://version" in the node's status.
	Name, Version string
	// Privileged tells that pods have a network namespace, a root file system and limits of
	// their own.
	Privileged bool
}

// Auth are the credentials for one registry; zero is anonymous.
type Auth struct{ Username, Password, IdentityToken, RegistryToken string }

// PullProgress tells how far a pull is.
type PullProgress struct {
	Ref string
	// Done and Total count the bytes of the compressed layers.
	Done, Total int64
	// Phase is "resolving", "downloading", "unpacking" or "done".
	Phase string
}

// Image is an image that is present.
type Image struct {
	// ID is the digest of the image's configuration, "sha256:...".
	ID string
	// Names are the references it was pulled by; Digests the same as name@digest.
	Names, Digests []string
	// Size is the size of its unpacked layers in bytes.
	Size int64
	// User is the image's USER: a name or UID, with an optional group.
	User string
}

// SandboxConfig describes a pod's sandbox. It is plain data; the kubelet derives it from the pod.
type SandboxConfig struct {
	Namespace, Name, UID string
	// Attempt counts the sandboxes that the pod had before.
	Attempt  uint32
	Hostname string
	// LogDir is the directory that the pod's container logs go to.
	LogDir      string
	HostNetwork bool
	HostPID     bool
	HostIPC     bool
	DNS         DNSConfig
	// Sysctls are the pod's securityContext.sysctls.
	Sysctls map[string]string
	// HostPorts are the ports of the node that lead to the pod.
	HostPorts []PortMapping
	// CgroupParent tells the quality-of-service class: "guaranteed", "burstable", "besteffort".
	QOSClass string
	// Resources bound the pod as a whole; zero fields are unbounded.
	Resources Resources
}

// DNSConfig is the content of a pod's resolv.conf.
type DNSConfig struct{ Servers, Searches, Options []string }

// PortMapping leads a port of the node to a port of a pod.
type PortMapping struct {
	Protocol      string // "TCP" or "UDP"
	HostIP        string
	HostPort      uint16
	ContainerPort uint16
}

// Resources are limits as cgroups understand them; a zero field sets nothing.
type Resources struct {
	// CPUShares is in cgroup v1's unit (2-262144); v2's weight is derived from it.
	CPUShares uint64
	// CPUQuota and CPUPeriod are in microseconds.
	CPUQuota  int64
	CPUPeriod uint64
	// MemoryLimit is in bytes.
	MemoryLimit int64
	// PidsLimit is the largest number of processes.
	PidsLimit int64
	// OOMScoreAdj is for each process of a container.
	OOMScoreAdj int
	// HugepageLimits are in bytes by page size, "2MB".
	HugepageLimits map[string]uint64
}

// Sandbox is the state of a pod's sandbox.
type Sandbox struct {
	ID     string
	Config SandboxConfig
	// IPs are the pod's addresses, the primary one first.
	IPs        []netip.Addr
	Ready      bool
	CreatedAt  time.Time
	Containers []Container
}

// ContainerConfig describes a container. It is plain data; the kubelet derives it from the pod.
type ContainerConfig struct {
	Name string
	// Attempt counts the containers of this name that the pod had before.
	Attempt uint32
	Image   string
	// Command and Args replace the image's entrypoint and command where not empty.
	Command, Args []string
	WorkingDir    string
	Env           []EnvVar
	Mounts        []Mount
	// LogPath is the file, in the kubelet's log format (CRI), that the output goes to; its
	// folder exists. Write it with a LogWriter.
	LogPath   string
	Resources Resources
	Security  SecurityContext
	Stdin     bool
	StdinOnce bool
	TTY       bool
	// StopSignal replaces the image's, when not empty.
	StopSignal string
}

// EnvVar is one environment variable.
type EnvVar struct{ Name, Value string }

// Mount makes a file or directory of the node appear in a container.
type Mount struct {
	HostPath, ContainerPath string
	ReadOnly                bool
	// Propagation is "", "HostToContainer" or "Bidirectional".
	Propagation string
}

// SecurityContext is a container's effective security context, pod and container merged.
type SecurityContext struct {
	RunAsUser, RunAsGroup *int64
	RunAsNonRoot          bool
	SupplementalGroups    []int64
	Privileged            bool
	ReadOnlyRootFS        bool
	NoNewPrivileges       bool
	CapAdd, CapDrop       []string
	// Seccomp is "", "Unconfined", "RuntimeDefault" or the path of a profile.
	Seccomp string
	// UnmaskedProc leaves /proc as the kernel shows it (procMount: Unmasked).
	UnmaskedProc bool
}

// ContainerState is where a container is in its life.
type ContainerState uint8

// The states of a container.
const (
	ContainerCreated ContainerState = iota
	ContainerRunning
	ContainerExited
)

// Container is the state of a container.
type Container struct {
	ID      string
	Name    string
	Attempt uint32
	State   ContainerState
	// Image is the reference that was asked for, ImageID the resolved image.
	Image, ImageID                   string
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int
	// Signal is the signal that ended it, or 0.
	Signal int
	// Reason is "Completed", "Error", "OOMKilled", "ContainerCannotRun" or "StartError".
	Reason, Message string
	LogPath         string
}
