package raft_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	clockJumps = flag.Bool("clock-jumps", false, "makes TestClockJumps run tests with a wall clock that jumps; it builds Go's library anew")
	wallJumps  = flag.Bool("wall-jumps", false, "says that the wall clock jumps")
)

// TestClockJumps runs tests of elections, leases, crashes and chaos with a wall clock that jumps all the time, by up
// to 80 minutes forth and back. There is no other clock to set in them: Go compares times by the monotonic clock, and
// nothing here takes that away. The wall clock that time.Now tells jumps, its monotonic part does not, as when
// somebody sets the machine's clock.
func TestClockJumps(t *testing.T) {
	if !*clockJumps {
		t.Skip("needs -clock-jumps; see make test-store")
	}
	overlay := jumpingClock(t)
	for dir, args := range map[string][]string{
		"..": {"-run", "Lease|Aging|Expire|History"},
		".": {"-run", "^(TestWallClock|TestChaos|TestChaosLeases|TestCrash|TestCrashCluster|TestPause|TestClusterLeases|TestClusterLeaderGoes|TestClusterMembers)$",
			"-args", "-wall-jumps", "-chaos-calls", "3000"},
	} {
		cmd := exec.Command("go", append([]string{"test", "-count=1", "-timeout=20m", "-overlay=" + overlay}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("in %s: %v", dir, err)
		}
		t.Logf("%s", out[max(0, len(out)-4000):])
	}
}

// jumpingClock is a file that has the go command compile another time.Now.
func jumpingClock(t *testing.T) string {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	path := filepath.Join(string(bytes.TrimSpace(root)), "src", "time", "time.go")
	var source []byte
	if err == nil {
		source, err = os.ReadFile(path)
	}
	if err != nil {
		t.Skipf("Go's own source is not here: %v", err)
	}
	const before = "\tmono -= startNano\n\tsec += unixToInternal - minWall\n"
	if bytes.Count(source, []byte(before)) != 1 {
		t.Fatalf("time.Now in %s is not as it was", path)
	}
	// Another time every 700 ms, up to 40 minutes off.
	jump := "\tsec += int64(uint64(mono/700e6)*2654435761%4801) - 2400\n"
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, bytes.Replace(source, []byte(before), []byte(jump+before), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err == nil {
		err = os.WriteFile(overlay, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return overlay
}

// TestWallClock sees to it that the wall clock jumps when it is said to, and that the monotonic one does not.
func TestWallClock(t *testing.T) {
	if !*wallJumps {
		t.Skip("is for TestClockJumps")
	}
	begun, furthest := time.Now(), time.Duration(0)
	for range 30 {
		time.Sleep(100 * time.Millisecond)
		now := time.Now()
		furthest = max(furthest, now.Round(0).Sub(begun.Round(0)).Abs())
		if since := now.Sub(begun); since < 0 || since > time.Minute {
			t.Fatalf("%v have gone by", since)
		}
	}
	if furthest < 5*time.Minute {
		t.Errorf("the wall clock jumped by %v at most", furthest)
	}
}
