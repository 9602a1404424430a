package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unpackHere unpacks entries below a directory that has a neighbour, which must stay untouched.
func unpackHere(t testing.TB, data []byte, limits unpacker) (root string, err error) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"root", "outside"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "outside", "secret"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := limits
	u.root = filepath.Join(dir, "root")
	err = u.unpack(bytes.NewReader(data))
	entries, rerr := os.ReadDir(filepath.Join(dir, "outside"))
	secret, serr := os.ReadFile(filepath.Join(dir, "outside", "secret"))
	all, _ := os.ReadDir(dir)
	if rerr != nil || serr != nil || len(entries) != 1 || string(secret) != "untouched" || len(all) != 2 {
		t.Errorf("the unpacker has been outside: %v %v %q %v", entries, rerr, secret, serr)
	}
	if fi, err := os.Stat(filepath.Join(dir, "outside", "secret")); err == nil && fi.Mode().Perm() != 0o600 {
		t.Errorf("the unpacker changed a mode outside: %v", fi.Mode())
	}
	return u.root, err
}

var generous = unpacker{maxBytes: 1 << 20, maxEntries: 100}

// TestMaliciousLayers unpacks what an attacker may put into a layer. Each is refused, by an error
// that names the entry, or made harmless.
func TestMaliciousLayers(t *testing.T) {
	dir := func(name string) file { return file{name: name, typeflag: tar.TypeDir} }
	link := func(name, to string) file { return file{name: name, link: to, typeflag: tar.TypeSymlink} }
	hard := func(name, to string) file { return file{name: name, link: to, typeflag: tar.TypeLink} }
	for _, tc := range []struct {
		name  string
		files []file
		want  string // part of the error; "" means that it unpacks
	}{
		{"dot dot", []file{{name: "../outside/evil"}}, "leads out of the image's root"},
		{"dot dot within", []file{{name: "a/../../outside/evil"}}, "leads out of the image's root"},
		{"dot dot at the end", []file{dir("a/..")}, "leads out of the image's root"},
		{"absolute", []file{{name: "/etc/passwd"}}, "absolute name"},
		{"link up, then a file through it", []file{link("x", "../outside"), {name: "x/evil"}}, ""},
		{"absolute link, then a file through it", []file{link("x", "/tmp"), {name: "x/evil"}}, ""},
		{"link to /, then a file through it", []file{link("x", "/"), {name: "x/y/evil"}}, ""},
		{"chain of links", []file{link("a", "b"), link("b", "../../outside"), {name: "a/evil"}}, ""},
		{"link in a circle", []file{link("a", "b"), link("b", "a"), {name: "a/evil"}}, "too many levels"},
		{"a link is replaced, not written through", []file{link("f", "../outside/secret"), {name: "f", content: "evil"}}, ""},
		{"a link's mode is not its target's", []file{link("f", "../outside/secret"), {name: "f", link: "../outside/secret", typeflag: tar.TypeSymlink, mode: 0o777}}, ""},
		{"a directory over a link", []file{link("d", "../outside"), dir("d"), {name: "d/evil"}}, ""},
		{"hard link out", []file{hard("h", "../outside/secret")}, "leads out of the image's root"},
		{"hard link to an absolute name", []file{hard("h", "/etc/passwd")}, "not in this layer"},
		{"hard link through a link", []file{link("x", "../outside"), hard("h", "x/secret")}, "not in this layer"},
		{"hard link to a link, then written", []file{link("x", "../outside/secret"), hard("h", "x"), {name: "h", content: "evil"}}, ""},
		{"hard link to a directory", []file{dir("d"), hard("h", "d")}, "hard link to the directory"},
		{"block device", []file{{name: "dev/sda", typeflag: tar.TypeBlock, major: 8}}, "block device 8:0: device nodes are not unpacked"},
		{"character device", []file{{name: "dev/mem", typeflag: tar.TypeChar, major: 1, minor: 1}}, "character device 1:1"},
		{"unknown type", []file{{name: "x", typeflag: 'Z'}}, "unknown type"},
		{"whiteout up", []file{dir("a"), {name: "a/.wh..."}}, "malformed whiteout"},
		{"whiteout of the parent", []file{dir("a"), {name: "a/.wh.."}}, "malformed whiteout"},
		{"whiteout through a link", []file{link("x", "../outside"), {name: "x/.wh.secret"}}, ""},
		{"opaque through a link", []file{link("x", "../outside"), {name: "x/.wh..wh..opq"}}, ""},
		{"a file as a parent", []file{{name: "a", content: "x"}, {name: "a/b"}}, "parent of the name is no directory"},
		{"the root as a file", []file{{name: "./", typeflag: tar.TypeSymlink, link: "/"}}, "the root must be a directory"},
		{"too many entries", manyFiles(101), "more than 100 entries"},
		{"too many bytes", []file{{name: "a", content: strings.Repeat("x", 1<<19)}, {name: "b", content: strings.Repeat("x", 1<<19+1)}}, "unpacks to more than"},
		{"overlayfs's own attributes", []file{{name: "d", typeflag: tar.TypeDir, pax: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc"}}}, ""},
		{"deep", []file{{name: strings.Repeat("d/", 200) + "f"}}, ""},
		{"long", []file{{name: strings.Repeat("d/", 3000) + "f"}}, "malformed name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root, err := unpackHere(t, makeTar(t, tc.files...), generous)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "entr")) {
				t.Errorf("unpack: %v, want %q", err, tc.want)
			}
			checkInside(t, root)
		})
	}
}

func manyFiles(n int) []file {
	out := make([]file, n)
	for i := range out {
		out[i] = file{name: fmt.Sprint("f", i)}
	}
	return out
}

// checkInside finds nothing in an unpacked layer that it must not hold.
func checkInside(t testing.TB, root string) {
	t.Helper()
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if fi.Mode()&fs.ModeDevice != 0 && !isWhiteout(fi) {
			t.Errorf("device %s", p)
		}
		buf := make([]byte, 64)
		for _, name := range []string{"trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.redirect"} {
			if n, err := unix.Lgetxattr(p, name, buf); err == nil {
				t.Errorf("%s has %s=%q", p, name, buf[:n])
			}
		}
		return nil
	})
}

func TestWhiteouts(t *testing.T) {
	root, err := unpackHere(t, makeTar(t,
		file{name: "a/", typeflag: tar.TypeDir},
		file{name: "a/.wh.gone"},
		file{name: "a/kept", content: "x"}, file{name: "a/.wh.kept"}, // of lower layers only
		file{name: "a/.wh.again"}, file{name: "a/again", content: "y"},
		file{name: "a/.wh.dir"}, file{name: "a/dir/", typeflag: tar.TypeDir}, file{name: "a/dir/new"},
		file{name: "b/", typeflag: tar.TypeDir}, file{name: "b/.wh..wh..opq"}, file{name: "b/new"},
		file{name: ".wh..wh.plnk"},
	), generous)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, _ error) error {
		fi, _ := d.Info()
		rel, _ := filepath.Rel(root, p)
		kind := "file"
		switch {
		case isWhiteout(fi):
			kind = "whiteout"
		case d.IsDir():
			kind = "dir"
			for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
				if _, err := unix.Lgetxattr(p, name, make([]byte, 1)); err == nil {
					kind = "opaque dir"
				}
			}
		}
		got += rel + " " + kind + "\n"
		return nil
	})
	want := `. dir
a dir
a/again file
a/dir opaque dir
a/dir/new file
a/gone whiteout
a/kept file
b opaque dir
b/new file
`
	if got != want {
		t.Errorf("unpacked:\n%s\nwant:\n%s", got, want)
	}
}

func TestMetadata(t *testing.T) {
	root, err := unpackHere(t, makeTar(t,
		file{name: "usr/lib/", typeflag: tar.TypeDir, mode: 0o1777, uid: 7},
		file{name: "lib", link: "usr/lib", typeflag: tar.TypeSymlink, uid: 8},
		file{name: "lib/su", content: "x", mode: 0o4755, uid: 9, pax: map[string]string{
			"SCHILY.xattr.user.note": "hi", "SCHILY.xattr.security.selinux": "no",
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		}},
		file{name: "su2", link: "usr/lib/su", typeflag: tar.TypeLink},
		file{name: "fifo", typeflag: tar.TypeFifo},
	), generous)
	if err != nil {
		t.Fatal(err)
	}
	lstat := func(name string) unix.Stat_t {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	su, su2 := lstat("usr/lib/su"), lstat("su2")
	if su.Ino != su2.Ino || su.Mode&0o7777 != 0o4755 {
		t.Errorf("su: inode %d and %d, mode %o", su.Ino, su2.Ino, su.Mode)
	}
	if d := lstat("usr/lib"); d.Mode&0o7777 != 0o1777 || d.Mtim.Sec != 0 {
		t.Errorf("usr/lib: mode %o, time %v", d.Mode, d.Mtim)
	}
	if f := lstat("fifo"); f.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("fifo: mode %o", f.Mode)
	}
	buf := make([]byte, 32)
	if n, err := unix.Lgetxattr(filepath.Join(root, "su2"), "user.note", buf); err != nil && !errors.Is(err, unix.ENOTSUP) || err == nil && string(buf[:n]) != "hi" {
		t.Errorf("user.note: %q, %v", buf[:max(n, 0)], err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if su.Uid != 9 || lstat("lib").Uid != 8 || lstat("usr/lib").Uid != 7 {
		t.Errorf("owners: %d %d %d", su.Uid, lstat("lib").Uid, lstat("usr/lib").Uid)
	}
	if n, err := unix.Lgetxattr(filepath.Join(root, "su2"), "security.capability", buf); err != nil || n != 20 {
		t.Errorf("security.capability: %d bytes, %v", n, err)
	}
}

// FuzzUnpack holds that no archive leads the unpacker out of its directory, makes a device, or
// makes it panic.
func FuzzUnpack(f *testing.F) {
	f.Add(makeTar(f, file{name: "a/b", content: "x"}, file{name: "l", link: "a", typeflag: tar.TypeSymlink}, file{name: "l/c"}))
	f.Add(makeTar(f, file{name: "x", link: "../outside", typeflag: tar.TypeSymlink}, file{name: "x/secret", content: "evil"}))
	f.Add(makeTar(f, file{name: "h", link: "../outside/secret", typeflag: tar.TypeLink}))
	f.Add(makeTar(f, file{name: "a/.wh.b"}, file{name: "a/.wh..wh..opq"}))
	f.Add(makeTar(f, file{name: "dev", typeflag: tar.TypeChar, major: 1, minor: 3}))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, _ := unpackHere(t, data, unpacker{maxBytes: 1 << 16, maxEntries: 50})
		checkInside(t, root)
	})
}
