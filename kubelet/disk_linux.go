package kubelet

import "golang.org/x/sys/unix"

// disk reads the size and the fill of the file system that dir is on.
func (m *machine) disk(dir string) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return
	}
	m.Disk, m.DiskFree = int64(st.Blocks)*st.Bsize, int64(st.Bavail)*st.Bsize
	m.DiskInodes, m.DiskInodesFree = int64(st.Files), int64(st.Ffree)
}
