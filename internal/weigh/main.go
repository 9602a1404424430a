// Command weigh measures what the API server and each package that a program may add to it cost: how much of its
// file is mapped, and how much memory a small program takes that serves and is asked nothing. It prints the table of
// apiserver/DESIGN.md ("Memory at rest").
//
//	go run ./internal/weigh            # some minutes: it links some twenty programs
//	go run ./internal/weigh crd policy # these alone, beside all built-in kinds
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "weigh:", err)
		os.Exit(1)
	}
}

// figures are what a program says of itself, in KB.
type figures struct {
	Resident, Private, Mapped, Goroutines int
	packages                              int
}

func run(only []string) error {
	dir, err := os.MkdirTemp("", "weigh-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("| program | packages | mapped of its file | resident | of that private | goroutines |\n|---|---|---|---|---|---|")
	var base figures
	for _, p := range programs() {
		if len(only) > 0 && p.plus && !slices.Contains(only, p.name) {
			continue
		}
		f, err := weigh(dir, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if !p.plus {
			base = f
			fmt.Printf("| %s | %d | %.1f MB | %.1f MB | %.1f MB | %d |\n",
				p.name, f.packages, mb(f.Mapped), mb(f.Resident), mb(f.Private), f.Goroutines)
		} else {
			fmt.Printf("| + `%s` | %+d | %+.1f | %+.1f | %+.1f | %+d |\n", p.name, f.packages-base.packages,
				mb(f.Mapped-base.Mapped), mb(f.Resident-base.Resident), mb(f.Private-base.Private), f.Goroutines-base.Goroutines)
		}
	}
	return nil
}

func mb(kb int) float64 { return float64(kb) / 1000 }

// weigh builds a program and lets it run for a moment.
func weigh(dir string, p program) (figures, error) {
	var f figures
	binary, packages, err := build(dir, p)
	if err != nil {
		return f, err
	}
	if err := settle(binary); err != nil {
		return f, err
	}
	state, err := os.MkdirTemp(dir, "state-")
	if err != nil {
		return f, err
	}
	said, err := output(exec.Command(binary, state))
	if err != nil {
		return f, err
	}
	f.packages = packages
	return f, json.Unmarshal(said, &f)
}

// build compiles a program as a package of this module, which is in no directory of it.
func build(dir string, p program) (binary string, packages int, err error) {
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(p.source()), 0o600); err != nil {
		return "", 0, err
	}
	root, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}"))
	if err != nil {
		return "", 0, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(strings.TrimSpace(string(root)), "internal", "weigh", "program", "main.go"): source}})
	if err != nil {
		return "", 0, err
	}
	file, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "program")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", 0, err
	}
	const what = "github.com/inboard/inboard/internal/weigh/program"
	if _, err := output(exec.Command("go", "build", "-tags", "grpcnotrace", "-overlay", file, "-o", binary, what)); err != nil {
		return "", 0, err
	}
	deps, err := output(exec.Command("go", "list", "-tags", "grpcnotrace", "-overlay", file, "-deps", what))
	return binary, strings.Count(string(deps), "\n"), err
}

// settle has a file read from disk again. What the linker has just written is in the page cache in pieces of 2 MB, of
// which the kernel then maps the whole for each byte that is touched.
func settle(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

func output(cmd *exec.Cmd) ([]byte, error) {
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, exit.Stderr)
	}
	return out, err
}
