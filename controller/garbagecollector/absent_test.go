package garbagecollector

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestAbsencesForgetTheOldest(t *testing.T) {
	var a absences
	if a.has("1") {
		t.Error("nothing was added")
	}
	for i := range maxAbsent + 10 {
		a.add(types.UID(fmt.Sprint(i)))
		a.add(types.UID(fmt.Sprint(i))) // again
	}
	if len(a.known) != maxAbsent || len(a.order) != maxAbsent {
		t.Errorf("%d are remembered, %d in order, want %d", len(a.known), len(a.order), maxAbsent)
	}
	if a.has("9") || !a.has("10") || !a.has(types.UID(fmt.Sprint(maxAbsent+9))) {
		t.Error("not the oldest were forgotten")
	}
}

func TestClientIsNeeded(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Client is nil") {
		t.Errorf("New: %v", err)
	}
}
