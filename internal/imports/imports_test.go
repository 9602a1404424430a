// Package imports holds the import rules of the library: who may import whom, and why.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/inboard/inboard"

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

// list runs go list, for all build tags that change imports.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-tags=seccomp,grpcnotrace", "-json=ImportPath,Imports,Deps,Standard"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// matches tells whether an import path fits a pattern: "a/b" is itself, "a/..." it and all below.
// "..." is all.
func matches(pattern, importPath string) bool {
	if pattern == "..." {
		return true
	}
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
	}
	ok, _ := path.Match(pattern, importPath)
	return ok
}

func allowed(patterns []string, importPath string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, importPath) })
}

// ruleFor returns the first rule that fits a package.
func ruleFor(importPath string) (rule, bool) {
	rel := strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
	for _, r := range rules {
		if matches(r.pkg, rel) {
			return r, true
		}
	}
	return rule{}, false
}

// TestDirectImports checks each package's own imports against its rule.
func TestDirectImports(t *testing.T) {
	std := map[string]bool{"C": true, "unsafe": true}
	for _, p := range list(t, "std") {
		std[p.ImportPath] = true
	}
	for _, p := range list(t, "./...") {
		r, ok := ruleFor(p.ImportPath)
		if !ok {
			t.Errorf("%s has no rule: add one, with its reason", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			own := strings.TrimPrefix(imp, module+"/")
			if !std[imp] && !allowed(r.may, imp) && (own == imp || !allowed(r.own, own)) {
				t.Errorf("%s imports %s, which its rule (%s: %s) does not allow", p.ImportPath, imp, r.pkg, r.why)
			}
		}
	}
}

// TestClosures checks what each package brings along, at any depth.
func TestClosures(t *testing.T) {
	for _, p := range list(t, "./...") {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, b := range banned {
			if b.except != nil && allowed(b.except, rel) {
				continue
			}
			for _, dep := range p.Deps {
				if matches(b.dep, dep) {
					t.Errorf("%s depends on %s: %s", p.ImportPath, dep, b.why)
				}
			}
		}
	}
}
