// Package kubectl runs scripts of the real kubectl, for each of its commands, and of older ones, against a cluster.
// The scripts are in testdata.
package kubectl

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inboard/inboard/internal/clients/cluster"
)

var streams = flag.Bool("streams", false, "also run the scripts for which the kubelet has to serve exec, attach and port-forward")

var old = flag.String("kubectls", "", "a folder with older kubectls, named kubectl.1.27 and so on (default: the one in which PATH's kubectl is)")

// TestCommands runs the scripts of testdata with the kubectl of the library's Kubernetes version.
func TestCommands(t *testing.T) {
	programs := cluster.Prepare(t)
	run(t, programs, "testdata", build(t))
}

// build builds kubectl as make kubectl does.
func build(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubectl")
	cmd.Dir, cmd.Env = filepath.Join(cluster.Root(), "internal/kubectl"), append(os.Environ(), "GOFLAGS=")
	version, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	v := "v1." + strings.TrimPrefix(strings.TrimSpace(string(version)), "v0.")
	path, err := cluster.Build(t.TempDir(), "internal/kubectl", ".", "kubectl", "-X k8s.io/component-base/version.gitVersion="+v)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, programs *cluster.Programs, dir, kubectl string) {
	t.Helper()
	path := t.TempDir()
	if err := os.Symlink(kubectl, filepath.Join(path, "kubectl")); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"k": cmdKubectl, "until": cmdUntil, "forward": cmdForward, "absent": cmdAbsent,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "streams":
				return *streams, nil
			case "1.27":
				return filepath.Base(kubectl) == "kubectl.1.27", nil
			}
			return false, errors.New("there are only the conditions streams and 1.27")
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", path+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "kubeconfig"))
			c, err := programs.Start(e.WorkDir)
			e.Defer(func() {
				if err := c.Stop(); err != nil {
					t.Error(err)
				}
			})
			return err
		},
	})
}

// k ARGS... is exec kubectl ARGS....
func cmdKubectl(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("kubectl", args...)
	if err == nil == neg {
		ts.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
}

// until PATTERN ARGS... asks kubectl until its output matches; with ! until it does not.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	ts.Check(cluster.Eventually(func() error {
		_ = ts.Exec("kubectl", args[1:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if re.MatchString(out) == neg {
			return fmt.Errorf("kubectl %s does not say %q (negated: %v):\n%s", strings.Join(args[1:], " "), args[0], neg, out)
		}
		return nil
	}))
}

// absent WORD... checks that none of the words is in the output of the last command.
func cmdAbsent(ts *testscript.TestScript, _ bool, args []string) {
	for _, word := range args {
		if strings.Contains(ts.ReadFile("stdout"), word) {
			ts.Fatalf("the output has %q", word)
		}
	}
}

// forward WHAT PORT PATTERN forwards a local port to WHAT's PORT, and gets an answer that matches through it.
func cmdForward(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("kubectl", "port-forward", args[0], ":"+args[1])
	cmd.Path = filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], "kubectl")
	cmd.Err = nil
	cmd.Env = []string{"KUBECONFIG=" + ts.Getenv("KUBECONFIG"), "HOME=" + ts.Getenv("HOME")}
	said, err := os.Create(ts.MkAbs("forward.log"))
	ts.Check(err)
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	ts.Check(cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	port := regexp.MustCompile(`127\.0\.0\.1:(\d+) ->`)
	ts.Check(cluster.Eventually(func() error {
		text, err := os.ReadFile(said.Name())
		if err != nil {
			return err
		}
		m := port.FindSubmatch(text)
		if m == nil {
			return errors.New("kubectl port-forward: " + string(text))
		}
		answer, err := cluster.Ask("http://127.0.0.1:" + string(m[1]))
		if err == nil && !regexp.MustCompile(args[2]).MatchString(answer) {
			err = fmt.Errorf("the answer is %q", answer)
		}
		return err
	}))
}

// TestSkew tells a compact story with each kubectl from 1.27 on that this machine has, and with the library's own.
func TestSkew(t *testing.T) {
	programs := cluster.Prepare(t)
	t.Run("own", func(t *testing.T) { t.Parallel(); run(t, programs, "testdata/skew", build(t)) })
	for minor := 27; minor <= 36; minor++ {
		name := fmt.Sprintf("kubectl.1.%d", minor)
		t.Run(name, func(t *testing.T) {
			dir := olderKubectls(t)
			path := filepath.Join(dir, name)
			if _, err := os.Stat(path); err != nil {
				t.Skipf("%s is not in %s; -kubectls names another folder", name, dir)
			}
			t.Parallel()
			run(t, programs, "testdata/skew", path)
		})
	}
}

// olderKubectls is the folder that may have older kubectls.
func olderKubectls(t *testing.T) string {
	if *old != "" {
		return *old
	}
	path, err := exec.LookPath("kubectl")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Skip("there is no kubectl in PATH, beside which older ones could be; -kubectls names a folder")
	}
	return filepath.Dir(path)
}
