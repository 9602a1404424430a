package etcd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inboard/inboard/store"
)

// TestEtcdctl runs sessions of the real etcdctl.
func TestEtcdctl(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/etcdctl").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	addr, _ := startStore(t, store.Config{})
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("ETCDCTL_ENDPOINTS", "http://"+addr)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"lease": cmdLease, "backup": cmdBackup},
	})
}

// lease NAME sets a variable to the id in the last command's output.
func cmdLease(ts *testscript.TestScript, _ bool, args []string) {
	fields := strings.Fields(ts.ReadFile("stdout"))
	ts.Setenv(args[0], fields[len(fields)-1])
}

// backup FILE REVISION KEYS checks that a saved snapshot is the store's backup.
func cmdBackup(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	size, err := f.Stat()
	ts.Check(err)
	if size.Size()%512 != 32 {
		ts.Fatalf("%s has %d bytes", filepath.Base(args[0]), size.Size())
	}
	// What comes last is etcd's checksum.
	data := make([]byte, size.Size()-32)
	if _, err := f.Read(data); err != nil {
		ts.Fatalf("%v", err)
	}
	info, err := store.VerifyBackup(strings.NewReader(string(data)))
	ts.Check(err)
	if strconv.FormatInt(info.Revision, 10) != args[1] || strconv.Itoa(info.Keys) != args[2] {
		ts.Fatalf("the backup has revision %d and %d keys", info.Revision, info.Keys)
	}
}
