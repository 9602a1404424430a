package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMistakes: each wrong flag is named, with what to do.
func TestMistakes(t *testing.T) {
	for flags, want := range map[string]string{
		"-components cooker":                              `there is no "cooker"; choose from apiserver,`,
		"-components kubelet":                             "-kubeconfig must say which one to use",
		"-runtime docker":                                 "choose runc or process",
		"-listen nonsense":                                "want address:port",
		"-node-name Not_A_Name":                           "-node-name",
		"-service-cidr 10.0.0.0":                          "-service-cidr",
		"-service-cidr 10.0.0.0/16 -pod-cidr 10.0.0.0/24": "overlap: choose others",
		"-registry-mirror a":                              "want host=URL",
		"-registry-mirror a=ftp://b":                      "want host=URL",
		"-history -1s":                                    "-history",
		"-etcd 127.0.0.1":                                 "-etcd",
		"-etcd 0.0.0.0:2379":                              "choose a loopback address",
		"-etcd 127.0.0.1:2379 -components scheduler -kubeconfig k": "not among -components",
		"surplus":                           `unexpected argument "surplus"`,
		"-components apiserver -pod-cidr x": "-pod-cidr",
		"-components apiserver,scheduler -listen 127.0.0.1:0 more": "unexpected argument",
	} {
		if _, err := parse(strings.Fields(flags), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flags, err, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	o, err := parse(strings.Fields("-runtime process"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !o.demo || !o.has(apiServer) || o.pods.String() != "127.64.0.0/16" || o.listen != "127.0.0.1:6443" || o.history != 5*time.Minute {
		t.Errorf("defaults: %+v", o)
	}
	if o, err = parse(strings.Fields("-components scheduler -kubeconfig k"), io.Discard); err != nil || o.demo {
		t.Errorf("a demo without an API server: %+v, %v", o, err)
	}
}

// TestOnlyOwnDirectoriesAreSwept: what another user put in the way is left alone.
func TestOnlyOwnDirectoriesAreSwept(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if !ownDir(dir) || ownDir(link) || ownDir(filepath.Join(dir, "none")) {
		t.Error("own directories are not told from links and from nothing")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if ownDir(dir) {
			t.Error("a directory of somebody else was taken for an own one")
		}
	}
}
