package runc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"

	"github.com/inboard/inboard/kubelet"
)

// identity is who a container's processes are.
type identity struct {
	uid, gid int
	groups   []int
}

// maxAccountFile bounds what is read of an image's /etc/passwd and /etc/group.
const maxAccountFile = 4 << 20

// resolveUser looks a user up in the root file system's own accounts. The pod's runAsUser and
// runAsGroup go before the image's USER.
func resolveUser(root, imageUser string, sec kubelet.SecurityContext) (identity, error) {
	spec := imageUser
	if sec.RunAsUser != nil {
		spec = strconv.FormatInt(*sec.RunAsUser, 10)
	}
	passwd, closePasswd := openInRoot(root, "/etc/passwd")
	defer closePasswd()
	group, closeGroup := openInRoot(root, "/etc/group")
	defer closeGroup()
	u, err := user.GetExecUser(spec, &user.ExecUser{}, passwd, group)
	if err != nil {
		return identity{}, fmt.Errorf("the image's user %q: %w", spec, err)
	}
	id := identity{uid: u.Uid, gid: u.Gid}
	if sec.RunAsGroup != nil {
		id.gid = int(*sec.RunAsGroup)
	}
	if sec.RunAsNonRoot && id.uid == 0 {
		return identity{}, errors.New("container has runAsNonRoot and image will run as root")
	}
	seen := map[int]bool{}
	add := func(g int) {
		if !seen[g] {
			seen[g] = true
			id.groups = append(id.groups, g)
		}
	}
	// Without the primary group among them, a process could drop it and so evade permissions that
	// deny it something (CVE-2023-25173).
	add(id.gid)
	for _, g := range u.Sgids {
		add(g)
	}
	for _, g := range sec.SupplementalGroups {
		add(int(g))
	}
	return id, nil
}

// openInRoot opens a file of the container as the container would see it: its symbolic links do
// not lead out of root. A missing file reads as empty.
func openInRoot(root, name string) (io.Reader, func()) {
	h, err := pathrs.OpenInRoot(root, name)
	if err != nil {
		return nil, func() {}
	}
	defer h.Close()
	f, err := pathrs.Reopen(h, os.O_RDONLY)
	if err != nil {
		return nil, func() {}
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, func() {}
	}
	return io.LimitReader(f, maxAccountFile), func() { f.Close() }
}
