package main

import (
	"os"
	"testing"
)

// The table is that of the modules in use: after an update of k8s.io/api run go generate ./apiserver/openapi.
func TestTableIsUpToDate(t *testing.T) {
	want, err := table()
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../enums.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Error("apiserver/openapi/enums.txt is not what the sources say: run go generate ./apiserver/openapi")
	}
}
