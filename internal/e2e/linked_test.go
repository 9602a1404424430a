package e2e

import (
	"debug/elf"
	"slices"
	"testing"
)

// linked checks that the linker dropped what nobody calls. It keeps every exported method of every type as soon as
// something that is linked asks for methods by names it can't know, as text/template does: a fifth more of a program.
func linked(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
	}
	if !has("main.main") {
		t.Fatalf("%s has no symbols to look at", program)
	}
	for _, asks := range []string{"text/template.(*state).evalField", "github.com/godbus/dbus/v5.getMethods"} {
		if has(asks) {
			t.Errorf("%s brings %s, for which the linker keeps all methods: `go build -ldflags=-dumpdep` tells who uses it",
				program, asks)
		}
	}
}
