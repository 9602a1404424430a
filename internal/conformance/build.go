package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// repository is the root of the main module, seen from this one.
const repository = "../.."

const kubernetes = "k8s.io/kubernetes"

// build builds all programs into dir. The test binary takes some minutes and about 4 GB of memory the first time.
func build(dir string) error {
	version, err := output("go", "list", "-m", "-f", "{{.Version}}", kubernetes)
	if err != nil {
		return err
	}
	stamp := fmt.Sprintf("-X k8s.io/component-base/version.gitVersion=%s", strings.TrimSpace(version))
	for _, b := range []struct {
		name, where string
		args, env   []string
	}{
		{"cluster", repository, []string{"build", "-tags=seccomp,grpcnotrace", "./examples/cluster"}, nil},
		{"kubectl", ".", []string{"build", "-ldflags", stamp, kubernetes + "/cmd/kubectl"}, nil},
		{"ginkgo", ".", []string{"build", "github.com/onsi/ginkgo/v2/ginkgo"}, nil},
		{"pause", ".", []string{"build", "./pause"}, static},
		{"agnhost", ".", []string{"build", "-ldflags=-s -w", kubernetes + "/test/images/agnhost"}, static},
		{"sample-apiserver", "sampleapiserver", []string{"build", "-ldflags=-s -w", "k8s.io/sample-apiserver"}, static},
		{"etcd", "../compare", []string{"build", "-ldflags=-s -w", "./cmd/etcd"}, static},
		{"e2e.test", ".", []string{"test", "-c", "-ldflags", stamp, kubernetes + "/test/e2e"}, nil},
	} {
		fmt.Println("building", b.name)
		last := len(b.args) - 1
		args := append(b.args[:last:last], "-o", filepath.Join(dir, b.name), b.args[last])
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = b.where, append(append(os.Environ(), "GOFLAGS="), b.env...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", b.name, err)
		}
	}
	return copyCertificate(dir)
}

// copyCertificate copies agnhost's certificate from its module.
func copyCertificate(dir string) error {
	module, err := output("go", "list", "-m", "-f", "{{.Dir}}", kubernetes)
	if err != nil {
		return err
	}
	for _, name := range certificate {
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(module), "test/images/agnhost/porter", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// static is the environment that builds programs which need nothing in their images but themselves.
var static = []string{"CGO_ENABLED=0"}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return string(out), err
}
