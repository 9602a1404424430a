// Command cell is the program of the images that package kubelettest makes: one static binary that
// does what a test asks for. Its first argument says what.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: cell print|env|exit|sleep|stubborn|serve|write|cat|eat|spawn|lines|id ...")
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "print": // each argument on a line of stdout; after "--", of stderr
		out := os.Stdout
		for _, a := range args {
			if a == "--" {
				out = os.Stderr
				continue
			}
			fmt.Fprintln(out, a)
		}
	case "env": // the values of variables
		for _, a := range args {
			fmt.Println(os.Getenv(a))
		}
	case "exit": // with a code, after printing the rest
		fmt.Println(strings.Join(args[1:], " "))
		os.Exit(number(args[0]))
	case "sleep": // until SIGTERM, then exit 0
		wait(0)
	case "exitfile": // 0 when the file exists, 1 when not
		if _, err := os.Stat(path(args[0])); err != nil {
			fail(err)
		}
	case "stubborn": // ignore SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "serve": // HTTP on a port: 200 on /, and on /file/PATH when it exists
		serve(args)
	case "write": // a file
		check(os.MkdirAll(filepath.Dir(path(args[0])), 0o755))
		check(os.WriteFile(path(args[0]), []byte(strings.Join(args[1:], " ")), 0o644))
	case "cat": // files
		for _, a := range args {
			b, err := os.ReadFile(path(a))
			check(err)
			os.Stdout.Write(b)
		}
	case "eat": // MiB of memory, and hold it
		eat(number(args[0]))
	case "spawn": // a grandchild in a session of its own, then sleep
		cmd := exec.Command("/proc/self/exe", "sleep")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		check(cmd.Start())
		fmt.Println(cmd.Process.Pid)
		wait(0)
	case "lines": // N numbered lines
		w := bufio.NewWriter(os.Stdout)
		for i := range number(args[0]) {
			fmt.Fprintf(w, "line %d\n", i)
		}
		check(w.Flush())
	case "id":
		fmt.Println(os.Getuid(), os.Getgid())
	default:
		fail("cell: no such command: " + os.Args[1])
	}
}

// path is where a path of the container is: below CONTAINER_ROOT, when there is one and it is there.
func path(p string) string {
	if root := os.Getenv("CONTAINER_ROOT"); root != "" {
		return filepath.Join(root, p)
	}
	return p
}

func wait(code int) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM)
	fmt.Println("ready")
	<-ch
	fmt.Println("terminated")
	os.Exit(code)
}

func serve(args []string) {
	if len(args) > 1 { // be slow to begin
		time.Sleep(time.Duration(number(args[1])) * time.Millisecond)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		host, _ := os.Hostname()
		fmt.Fprintf(w, "%s %s\n", host, os.Getenv("POD_IP"))
	})
	http.HandleFunc("/file/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(path(strings.TrimPrefix(r.URL.Path, "/file"))); err != nil {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	})
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("POD_IP"), args[0]))
	check(err)
	go func() { check(http.Serve(l, nil)) }()
	wait(0)
}

func eat(mib int) {
	var hold [][]byte
	for range mib {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		hold = append(hold, b)
	}
	fmt.Println("ate", len(hold))
	time.Sleep(time.Hour)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}
