// Package helm runs the real helm with a chart of the project's own against a cluster. The scripts are in testdata.
package helm

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inboard/inboard/internal/clients/cluster"
)

func TestHelm(t *testing.T) {
	programs := cluster.Prepare(t)
	path := t.TempDir()
	helm, err := cluster.Build(path, "internal/clients/helm", "helm.sh/helm/v4/cmd/helm", "helm", "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1")
	if err != nil {
		t.Fatal(err)
	}
	link(t, helm, filepath.Join(path, "helm"))
	chart, err := filepath.Abs("testdata/chart")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"helm": cmdHelm, "has": cmdHas,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", path+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("KUBECONFIG", filepath.Join(e.WorkDir, "kubeconfig"))
			e.Setenv("CHART", chart)
			c, err := programs.Start(e.WorkDir)
			if err != nil {
				return err
			}
			w, err := open(c.Kubeconfig)
			e.Values["world"] = w
			e.Defer(func() {
				if w != nil {
					w.close()
				}
				if err := c.Stop(); err != nil {
					t.Error(err)
				}
			})
			return err
		},
	})
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Symlink(from, to); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
}

// helm ARGS... is exec helm ARGS....
func cmdHelm(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("helm", args...)
	if err == nil == neg {
		ts.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
}

// has RESOURCE/NAME [FIELD=PATTERN] checks what the API has: the resource by its group, as in deployments.apps/web, in
// the namespace default; with ! that it is not there.
func cmdHas(ts *testscript.TestScript, neg bool, args []string) {
	w := ts.Value("world").(*world)
	resource, name, _ := strings.Cut(args[0], "/")
	ts.Check(cluster.Eventually(func() error {
		got, err := w.field(resource, name, args[1:])
		if neg {
			if err == nil {
				return fmt.Errorf("%s is there: %s", args[0], got)
			}
			return nil
		}
		if err != nil || len(args) == 1 {
			return err
		}
		_, pattern, _ := strings.Cut(args[1], "=")
		if !regexp.MustCompile("^(" + pattern + ")$").MatchString(got) {
			return fmt.Errorf("%s has %s, not %s", args[0], got, args[1])
		}
		return nil
	}))
}
