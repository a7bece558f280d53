//go:build interop

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// benchstat is the program that our text is made for.
const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// benchstat compares two outputs, every unit and every result of them, in one
// table for all.
func TestInteropBenchstat(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"before", "after"} {
		status, stdout, stderr := finwait("bench", "table", "--flows", "2k", "--rounds", "2", "--segments", "10k", "--connections", "1k",
			"--count", "6", "--report", filepath.Join(dir, "report-"+name))
		if status != 0 {
			t.Fatalf("exit status %d: %s", status, stderr)
		}
		// Another version is no reason to keep the two apart.
		stdout = strings.ReplaceAll(stdout, version(), name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(stdout), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", benchstat, "before", "after")
	cmd.Dir = dir // outside of this module, which does not require it
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"goarch: ", "sec/segment", "octets/connection", "allocs/op", "connections/s", "vs base", "n=6",
		"Table/flows=2k/finwait ", "Table/flows=2k/gomap-over-finwait "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("benchstat's answer lacks %q:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "goarch: "); n != 1 {
		t.Errorf("benchstat made %d tables of two outputs of one machine:\n%s", n, out)
	}
}
