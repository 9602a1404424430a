package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrograms checks that the programs are Go and use what they import, which is there: whether they compile is seen
// when they are weighed.
func TestPrograms(t *testing.T) {
	for _, p := range programs() {
		file, err := parser.ParseFile(token.NewFileSet(), p.name, p.source(), parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
			continue
		}
		used := map[string]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok {
					used[x.Name] = true
				}
			}
			return true
		})
		for _, i := range file.Imports {
			imported := strings.Trim(i.Path.Value, `"`)
			if !used[path.Base(imported)] {
				t.Errorf("%s imports %s and does not use it", p.name, imported)
			}
			if own, ok := strings.CutPrefix(imported, "github.com/inboard/inboard/"); ok {
				if sources, _ := filepath.Glob(filepath.Join("../..", own, "*.go")); len(sources) == 0 {
					t.Errorf("%s imports %s, which has no sources", p.name, imported)
				}
			}
		}
	}
	if _, err := os.Stat("program"); err == nil {
		t.Error("the directory program is where the programs are said to be: it may not exist")
	}
}
