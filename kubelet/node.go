package kubelet

import (
	"bufio"
	"net"
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeVersion is the Kubernetes release whose behaviour this kubelet has.
const kubeVersion = "v1.37.2"

// machine is what was found out about the host.
type machine struct {
	CPUs                                 int
	Memory, Disk                         int64 // bytes
	MachineID, SystemUUID, BootID        string
	Kernel, OSImage                      string
	OS, Arch                             string
	DiskFree, DiskInodes, DiskInodesFree int64
	MemoryFree                           int64
}

// capacityOf returns the node's resources and what of them pods may use.
func capacityOf(m machine, maxPods int, override, reserved corev1.ResourceList) (capacity, allocatable corev1.ResourceList) {
	capacity = corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(m.CPUs), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(m.Memory, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(m.Disk, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(int64(maxPods), resource.DecimalSI),
	}
	for name, q := range override {
		capacity[name] = q
	}
	allocatable = corev1.ResourceList{}
	for name, q := range capacity {
		q = q.DeepCopy()
		if r, ok := reserved[name]; ok {
			q.Sub(r)
			if q.Sign() < 0 {
				q = resource.Quantity{}
			}
		}
		allocatable[name] = q
	}
	return capacity, allocatable
}

// nodeLabels are the labels that the kubelet gives its node.
func nodeLabels(name string, m machine, extra map[string]string) map[string]string {
	labels := map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: m.OS, corev1.LabelArchStable: m.Arch,
		"beta.kubernetes.io/os": m.OS, "beta.kubernetes.io/arch": m.Arch,
	}
	for k, v := range extra {
		labels[k] = v
	}
	return labels
}

// nodeStatus returns the node's status; old is the one that the API has, whose transition times
// and foreign conditions are kept.
func nodeStatus(old *corev1.NodeStatus, in nodeInput, now time.Time) corev1.NodeStatus {
	st := *old.DeepCopy()
	st.Capacity, st.Allocatable = withForeign(in.Capacity, old.Capacity), withForeign(in.Allocatable, old.Capacity)
	st.Addresses = nil
	for _, ip := range in.IPs {
		st.Addresses = append(st.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip.String()})
	}
	st.Addresses = append(st.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: in.Name})
	st.DaemonEndpoints.KubeletEndpoint.Port = in.Port
	m := in.Machine
	st.NodeInfo = corev1.NodeSystemInfo{
		MachineID: m.MachineID, SystemUUID: m.SystemUUID, BootID: m.BootID,
		KernelVersion: m.Kernel, OSImage: m.OSImage, OperatingSystem: m.OS, Architecture: m.Arch,
		ContainerRuntimeVersion: in.Runtime.Name + "://" + in.Runtime.Version, KubeletVersion: kubeVersion,
	}
	st.Images = in.Images
	for _, c := range nodeConditions(in) {
		setCondition(&st, c, now)
	}
	return st
}

// withForeign adds to the node's own resources the extended ones that others wrote into its capacity: administrators
// advertise devices so (https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/).
func withForeign(own, capacity corev1.ResourceList) corev1.ResourceList {
	out := own.DeepCopy()
	for name, q := range capacity {
		if _, known := own[name]; !known && strings.Contains(string(name), "/") {
			out[name] = q.DeepCopy()
		}
	}
	return out
}

// nodeInput is what a node's status is made from.
type nodeInput struct {
	Name                  string
	IPs                   []net.IP
	Port                  int32
	Capacity, Allocatable corev1.ResourceList
	Machine               machine
	Runtime               RuntimeInfo
	Images                []corev1.ContainerImage
}

// The kubelet's eviction thresholds, below which it tells of pressure.
const (
	memoryThreshold = 100 << 20 // bytes
	diskThreshold   = 10        // percent
	inodeThreshold  = 5         // percent
)

func nodeConditions(in nodeInput) []corev1.NodeCondition {
	m := in.Machine
	memory := m.MemoryFree > 0 && m.MemoryFree < memoryThreshold
	disk := m.Disk > 0 && m.DiskFree*100 < m.Disk*diskThreshold ||
		m.DiskInodes > 0 && m.DiskInodesFree*100 < m.DiskInodes*inodeThreshold
	pressure := func(t corev1.NodeConditionType, on bool, yes, no, yesText, noText string) corev1.NodeCondition {
		if on {
			return corev1.NodeCondition{Type: t, Status: corev1.ConditionTrue, Reason: yes, Message: yesText}
		}
		return corev1.NodeCondition{Type: t, Status: corev1.ConditionFalse, Reason: no, Message: noText}
	}
	return []corev1.NodeCondition{
		pressure(corev1.NodeMemoryPressure, memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
			"kubelet has insufficient memory available", "kubelet has sufficient memory available"),
		pressure(corev1.NodeDiskPressure, disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
			"kubelet has disk pressure", "kubelet has no disk pressure"),
		pressure(corev1.NodePIDPressure, false, "KubeletHasInsufficientPID", "KubeletHasSufficientPID",
			"kubelet has insufficient PID available", "kubelet has sufficient PID available"),
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	}
}

func setCondition(st *corev1.NodeStatus, c corev1.NodeCondition, now time.Time) {
	c.LastHeartbeatTime, c.LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
	i := slices.IndexFunc(st.Conditions, func(o corev1.NodeCondition) bool { return o.Type == c.Type })
	if i < 0 {
		st.Conditions = append(st.Conditions, c)
		return
	}
	if st.Conditions[i].Status == c.Status {
		c.LastTransitionTime = st.Conditions[i].LastTransitionTime
	}
	st.Conditions[i] = c
}

// readMachine finds out about the host; dir is a folder on the disk that pods use.
func readMachine(dir string) machine {
	m := machine{CPUs: goruntime.NumCPU(), OS: goruntime.GOOS, Arch: goruntime.GOARCH,
		MachineID: firstFile("/etc/machine-id", "/var/lib/dbus/machine-id"),
		BootID:    firstFile("/proc/sys/kernel/random/boot_id"), Kernel: firstFile("/proc/sys/kernel/osrelease")}
	if m.SystemUUID = firstFile("/sys/class/dmi/id/product_uuid"); m.SystemUUID == "" {
		m.SystemUUID = m.MachineID
	}
	m.OSImage = osImage()
	m.Memory, m.MemoryFree = memoryInfo()
	m.disk(dir)
	return m
}

func firstFile(paths ...string) string {
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

func osImage() string {
	for line := range strings.Lines(firstFile("/etc/os-release")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return goruntime.GOOS
}

// memoryInfo returns the host's memory and how much of it is available, in bytes.
func memoryInfo() (total, free int64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "MemTotal:":
			total = n << 10
		case fields[0] == "MemAvailable:":
			free = n << 10
		}
	}
	return total, free
}
