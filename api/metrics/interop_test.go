//go:build interop

package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool runs Prometheus's own tool, which make interop installs.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v: %s", args, err, out)
	}
}

func TestInteropCheckMetrics(t *testing.T) {
	m := New(testConfig())
	m.Answered("/v1/flows", http.StatusOK, 1)
	if err := m.Connections.Write(randomRecords(5000)); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "finwait_close_wait_seconds_bucket") {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	promtool(t, w.Body.String(), "check", "metrics")
}

func TestInteropCheckRules(t *testing.T) {
	promtool(t, "", "check", "rules", filepath.Join("..", "..", "docs", "prometheus-rules.yml"))
}

// Every query of the dashboard is one that Prometheus can read.
func TestInteropDashboard(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	n := 0
	for _, expression := range expressions(t) {
		n++
		fmt.Fprintf(&rules, "      - record: query:%d\n        expr: %q\n", n, strings.ReplaceAll(expression, "$__rate_interval", "5m"))
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}
