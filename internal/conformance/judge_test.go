package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestJudge: testdata/report.json is what ginkgo wrote about a run, cut down to one spec of each outcome.
func TestJudge(t *testing.T) {
	text, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	specs, err := specsOf(text)
	if err != nil {
		t.Fatal(err)
	}
	const took = 2*time.Minute + 7100*time.Millisecond
	for _, c := range []struct {
		list, want string
		ok         bool
	}{
		{"Secrets should patch a secret [Conformance]", "1 passed, 0 failed, 0 known to fail; took 2m7s\n", true},
		{"Secrets should patch a secret [Conformance]\nKNOWN [DRA] CRUD Tests DeviceClass [Conformance]",
			"KNOWN [DRA] CRUD Tests DeviceClass [Conformance] - failed: get resource API: not found\n1 passed, 0 failed, 1 known to fail; took 2m7s\n", true},
		{"[DRA] CRUD Tests DeviceClass [Conformance]",
			"FAILED [DRA] CRUD Tests DeviceClass [Conformance] - failed: get resource API: not found\n0 passed, 1 failed, 0 known to fail; took 2m7s\n", false},
		{"VolumeAttachment should run [Conformance]",
			"FAILED VolumeAttachment should run [Conformance] - panicked: Test Panicked\n0 passed, 1 failed, 0 known to fail; took 2m7s\n", false},
		{"KNOWN Secrets should patch a secret [Conformance]",
			"PASSED Secrets should patch a secret [Conformance] - it is marked as known to fail: take the mark away\n1 passed, 0 failed, 0 known to fail; took 2m7s\n", false},
		{"Nodes should be two [Conformance]",
			"FAILED Nodes should be two [Conformance] - skipped: Requires at least 2 nodes (not 1)\n0 passed, 1 failed, 0 known to fail; took 2m7s\n", false},
		{"Nobody knows this test",
			"FAILED Nobody knows this test - the suite has no such test\n0 passed, 1 failed, 0 known to fail; took 2m7s\n", false},
	} {
		var out bytes.Buffer
		if ok := judge(&out, parseList(c.list), specs, took); ok != c.ok || out.String() != c.want {
			t.Errorf("%s: %v\n%swant %v\n%s", c.list, ok, out.String(), c.ok, c.want)
		}
	}
}

// TestJudgeSetup: when what comes before all tests failed, that is told, and no test has passed.
func TestJudgeSetup(t *testing.T) {
	specs, err := specsOf([]byte(`[{"SpecReports": [{"LeafNodeType": "SynchronizedBeforeSuite", "State": "failed",
		"Failure": {"Message": "no cluster\nat all"}}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ok := judge(&out, parseList("a test"), specs, time.Minute)
	if ok || !strings.HasPrefix(out.String(), "FAILED SynchronizedBeforeSuite - failed: no cluster\nFAILED a test - ") {
		t.Errorf("%v\n%s", ok, out.String())
	}
}

// TestLists: each list has tests, each once and in order, and its focus matches all of them and nothing longer.
func TestLists(t *testing.T) {
	for _, name := range listNames() {
		l, err := readList(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(l.tests) || len(slices.Compact(slices.Clone(l.tests))) != len(l.tests) {
			t.Errorf("%s is not sorted, or has a test twice", name)
		}
		focus := regexp.MustCompile(focusOf(l.tests))
		for _, test := range l.tests {
			if !focus.MatchString("Kubernetes e2e suite "+test) || focus.MatchString("Kubernetes e2e suite "+test+" x") {
				t.Errorf("the focus of %s does not match %q alone", name, test)
			}
		}
	}
	if _, err := readList("none", ""); err == nil || !strings.Contains(err.Error(), "api") {
		t.Errorf("a list that there is not: %v", err)
	}
	if l, err := readList("api", "Namespaces should patch"); err != nil || len(l.tests) != 1 {
		t.Errorf("a focus of one test: %v, %v", l, err)
	}
}
