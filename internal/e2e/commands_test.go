package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds each wait for something that must happen.
const patience = 90 * time.Second

// story is the state of a script.
type story struct {
	t       *testing.T
	cluster *exec.Cmd
	output  string // the file with the cluster's output
	exited  chan error
	load    *load
	// programs are the others that run, in the order in which they were started.
	programs []*program
}

func of(ts *testscript.TestScript) *story { return ts.Value("story").(*story) }

// end kills what the script left running.
func (s *story) end() {
	if s.load != nil {
		s.load.stop()
	}
	for _, p := range slices.Backward(s.programs) {
		_ = p.stop()
	}
	if s.cluster != nil {
		_ = s.cluster.Process.Signal(os.Interrupt)
		select {
		case <-s.exited:
		case <-time.After(10 * time.Second):
			_ = s.cluster.Process.Kill()
			<-s.exited
		}
	}
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"certificate-request": cmdCertificateRequest, "certificate-kubeconfig": cmdCertificateKubeconfig,
	"token-kubeconfig": cmdTokenKubeconfig, "cluster": cmdCluster, "until": cmdUntil, "reach": cmdReach, "udp": cmdUDP, "load": cmdLoad,
	"kill-container": cmdKillContainer, "as-nobody": cmdAsNobody,
	"start": cmdStart, "stop": cmdStop, "kube-apiserver": cmdKubeAPIServer,
}

// cluster start ARGS... starts the program and waits until it is up; cluster stop presses Ctrl-C, which
// must end it with nothing wrong; cluster kill pulls the plug. As in a terminal, Ctrl-C goes to the whole
// process group, so also to the programs that the cluster is just running.
func cmdCluster(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "start":
		ts.Check(s.start(ts, args[1:], nil))
	case "stop":
		ts.Check(syscall.Kill(-s.cluster.Process.Pid, syscall.SIGINT))
		ts.Check(s.wait())
	case "kill":
		ts.Check(s.cluster.Process.Kill())
		_ = s.wait()
	default:
		ts.Fatalf("usage: cluster start|stop|kill")
	}
}

// as-nobody ARGS... is cluster start without root's rights.
func cmdAsNobody(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(of(ts).start(ts, args, &syscall.Credential{Uid: 65534, Gid: 65534}))
}

func (s *story) start(ts *testscript.TestScript, args []string, as *syscall.Credential) error {
	s.output = ts.MkAbs("cluster.log")
	out, err := os.Create(s.output)
	if err != nil {
		return err
	}
	defer out.Close()
	args = append([]string{"-kubeconfig", ts.Getenv("KUBECONFIG"), "-node-name", "node-a",
		"-registry-mirror", "registry.test=" + ts.Getenv("REGISTRY")}, args...)
	program, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], "cluster"))
	if err != nil {
		return err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cluster = cmd
	s.exited = make(chan error, 1)
	go func(c *exec.Cmd, exited chan error) { exited <- c.Wait() }(s.cluster, s.exited)
	return eventually(func() error {
		select {
		case err := <-s.exited:
			s.exited <- err
			return fatal{fmt.Errorf("the cluster ended: %v\n%s", err, read(s.output))}
		default:
		}
		if !strings.Contains(read(s.output), "Ctrl-C stops everything") {
			return errors.New("the cluster is not up:\n" + read(s.output))
		}
		return nil
	})
}

func (s *story) wait() error {
	select {
	case err := <-s.exited:
		s.cluster = nil
		if err != nil {
			return fmt.Errorf("the cluster ended with %v:\n%s", err, read(s.output))
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the cluster does not end:\n%s", read(s.output))
	}
}

// fatal is an error that waiting does not mend.
type fatal struct{ error }

// eventually tries until it works.
func eventually(try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		var f fatal
		if err == nil || errors.As(err, &f) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// until PATTERN COMMAND ARGS... runs a command until its output matches; with ! until it does not.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	ts.Check(eventually(func() error {
		_ = ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if re.MatchString(out) == neg {
			return fmt.Errorf("%s does not say %q (negated: %v):\n%s", strings.Join(args[1:], " "), args[0], neg, out)
		}
		return nil
	}))
}

// reach URL N [PATTERN] asks until N different answers, that match, have come; no request may fail.
func cmdReach(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	re := regexp.MustCompile("")
	if len(args) > 2 {
		re = regexp.MustCompile(args[2])
	}
	seen := map[string]bool{}
	ts.Check(eventually(func() error {
		for range 20 * want {
			answer, err := ask(args[0])
			if err != nil {
				return err
			}
			if re.MatchString(answer) {
				seen[answer] = true
			}
		}
		if len(seen) != want {
			return fmt.Errorf("%s has %d different answers, not %d: %v", args[0], len(seen), want, seen)
		}
		return nil
	}))
}

// fresh makes a connection for each request, so that each is balanced anew.
var fresh = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func ask(url string) (string, error) {
	res, err := fresh.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return strings.TrimSpace(string(b)), err
}

// udp ADDRESS N sends packets until N different answers have come.
func cmdUDP(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	seen := map[string]bool{}
	ts.Check(eventually(func() error {
		conn, err := net.Dial("udp", args[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := conn.Write([]byte("who?")); err != nil {
			return err
		}
		buf := make([]byte, 1500)
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if seen[string(buf[:n])] = true; len(seen) < want {
			return fmt.Errorf("%d different answers from %s: %v", len(seen), args[0], seen)
		}
		return nil
	}))
}

// load is a client that asks all the time.
type load struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	asked  int
	failed []string
}

// load start URL asks all the time; load stop ends it, and no request may have failed.
func cmdLoad(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if args[0] == "start" {
		s.load = startLoad(args[1])
		return
	}
	s.load.stop()
	ts.Logf("%d requests, %d failed", s.load.asked, len(s.load.failed))
	if len(s.load.failed) > 0 || s.load.asked == 0 {
		ts.Fatalf("%d of %d requests failed: %v", len(s.load.failed), s.load.asked, s.load.failed)
	}
}

func startLoad(url string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for range 4 {
		l.done.Go(func() {
			for ctx.Err() == nil {
				_, err := ask(url)
				l.mu.Lock()
				l.asked++
				if err != nil {
					l.failed = append(l.failed, time.Now().Format(time.TimeOnly)+" "+err.Error())
				}
				l.mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return l
}

func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// kill-container POD sends SIGKILL to the process whose host name is the pod's.
func cmdKillContainer(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("kubectl", "get", "pods", "-o", "name", "-l", args[0]))
	pod := strings.TrimPrefix(strings.Fields(ts.ReadFile("stdout"))[0], "pod/")
	ts.Setenv("KILLED", pod)
	for _, dir := range mustGlob("/proc/[0-9]*") {
		if !strings.HasPrefix(read(filepath.Join(dir, "cmdline")), "/program\x00") {
			continue
		}
		if strings.Contains(read(filepath.Join(dir, "environ")), "POD_NAME="+pod+"\x00") {
			pid, err := strconv.Atoi(filepath.Base(dir))
			ts.Check(err)
			ts.Check(syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	ts.Fatalf("no process of pod %s", pod)
}

func mustGlob(pattern string) []string {
	list, err := filepath.Glob(pattern)
	if err != nil {
		panic(err)
	}
	return list
}
