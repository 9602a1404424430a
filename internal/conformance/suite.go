package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// lists holds the full names of tests, one a line. A name that begins with "KNOWN " is that of a test that is known
// to fail; the comments above it say why.
//
//go:embed lists
var lists embed.FS

// list is a list of tests.
type list struct {
	tests []string
	known map[string]bool
}

func listNames() []string {
	entries, err := lists.ReadDir("lists")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".txt"))
	}
	return names
}

// readList reads the tests of a list whose names match focus.
func readList(name, focus string) (*list, error) {
	if !slices.Contains(listNames(), name) {
		return nil, fmt.Errorf("there is no list of that name; choose from %s", strings.Join(listNames(), ", "))
	}
	text, err := lists.ReadFile("lists/" + name + ".txt")
	if err != nil {
		return nil, err
	}
	chosen, err := regexp.Compile(focus)
	if err != nil {
		return nil, fmt.Errorf("-focus: %w", err)
	}
	l := parseList(string(text))
	l.tests = slices.DeleteFunc(l.tests, func(t string) bool { return !chosen.MatchString(t) })
	if len(l.tests) == 0 {
		return nil, fmt.Errorf("-focus %q: no test matches", focus)
	}
	return l, nil
}

func parseList(text string) *list {
	l := &list{known: map[string]bool{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, known := strings.CutPrefix(line, "KNOWN ")
		l.tests = append(l.tests, name)
		l.known[name] = known
	}
	return l
}

// focusOf is a regular expression that matches the tests as ginkgo names them, after the suite's description.
func focusOf(tests []string) string {
	var out []string
	for _, t := range tests {
		out = append(out, " "+regexp.QuoteMeta(t)+"$")
	}
	return strings.Join(out, "|")
}

// ginkgo runs the tests, and returns what became of all specs of the suite. That tests failed is no error; that the
// cluster ended meanwhile is.
func ginkgo(ctx context.Context, o *options, c *cluster, l *list, results string) (types.SpecReports, error) {
	ctx, cancel := c.whileRunning(ctx)
	defer cancel()
	log, err := os.Create(filepath.Join(results, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(o.dir, "ginkgo"),
		fmt.Sprint("--procs=", o.procs), "--no-color", fmt.Sprint("--timeout=", o.timeout),
		"--output-dir="+results, "--json-report=report.json", "--focus="+focusOf(l.tests), filepath.Join(o.dir, "e2e.test"), "--",
		"--kubeconfig="+c.kubeconfig, "--kubectl-path="+filepath.Join(o.dir, "kubectl"), "--provider=skeleton",
		// Of the system's own pods, which the suite waits for, there are none.
		"--num-nodes=1", "--minStartupPods=-1", "--dump-logs-on-failure=false", "--disable-log-dump=true", "--report-dir="+results)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = cmd.Run()
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a test that does not listen
		return nil, context.Cause(ctx)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(results, "report.json"))
	if err != nil {
		return nil, fmt.Errorf("%w; see %s", err, log.Name())
	}
	return specsOf(text)
}

// specsOf reads ginkgo's report.
func specsOf(text []byte) (types.SpecReports, error) {
	var reports []types.Report
	if err := json.Unmarshal(text, &reports); err != nil {
		return nil, err
	}
	var specs types.SpecReports
	for _, r := range reports {
		specs = append(specs, r.SpecReports...)
	}
	return specs, nil
}
