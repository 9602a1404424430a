//go:build !linux

package kubelet

func (m *machine) disk(string) {}
