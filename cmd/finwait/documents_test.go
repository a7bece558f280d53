package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The ledger as the documents have it.
var (
	ledgerRow     = regexp.MustCompile("(?m)^\\| `([a-z_]+)` ([^|]*)\\|([^|]*)\\|")
	quotedTerm    = regexp.MustCompile("`([a-z_0-9]+)`")
	ledgerMatcher = regexp.MustCompile(`finwait_ledger_total\{([^}]*)\}`)
	ledgerLabel   = regexp.MustCompile(`\b(stage|reason)\s*(=~|=)\s*\\?"([^"\\]*)\\?"`)
	servedLedger  = regexp.MustCompile(`(?m)^finwait_ledger_total\{[^}]*reason="([^"]*)",stage="([^"]*)"\}`)
)

// checkDocuments holds what the documents say of the ledger against what an
// appliance on a tap that is told by its kernel's counters serves: every stage and
// reason is in the table of docs/operating.md and the other way round, and the alerts
// and the dashboard ask for none that there is not.
func checkDocuments(t *testing.T, metrics string) {
	t.Helper()
	served := map[string][]string{} // reasons by stage
	for _, line := range servedLedger.FindAllStringSubmatch(metrics, -1) {
		served[line[2]] = append(served[line[2]], line[1])
	}
	documented := documentedLedger(t)
	for stage, reasons := range served {
		for _, reason := range reasons {
			if !slices.Contains(documented[stage], reason) {
				t.Errorf("docs/operating.md does not know %s %s", stage, reason)
			}
		}
	}
	for stage, reasons := range documented {
		for _, reason := range reasons {
			if bySequence := strings.HasSuffix(reason, "_forgotten") && stage == "program"; !bySequence && !slices.Contains(served[stage], reason) {
				t.Errorf("docs/operating.md has %s %s, which is not served", stage, reason)
			}
		}
	}
	asked := 0
	for _, name := range []string{"prometheus-rules.yml", "grafana-dashboard.json"} {
		for _, within := range ledgerMatcher.FindAllStringSubmatch(document(t, name), -1) {
			asked++
			checkLedgerMatcher(t, name, within[1], served)
		}
	}
	if asked < 3 || len(served) < 6 {
		t.Errorf("%d questions in the documents about the ledger of %d stages", asked, len(served))
	}
}

// checkLedgerMatcher wants every stage and reason in a selector's braces to be
// served together.
func checkLedgerMatcher(t *testing.T, where, within string, served map[string][]string) {
	t.Helper()
	wanted := map[string][]string{}
	for _, label := range ledgerLabel.FindAllStringSubmatch(within, -1) {
		wanted[label[1]] = strings.Split(label[3], "|")
	}
	for _, stage := range wanted["stage"] {
		if served[stage] == nil {
			t.Errorf("%s asks for stage %s, which there is not", where, stage)
		}
	}
	for _, reason := range wanted["reason"] {
		found := false
		for stage, reasons := range served {
			found = found || slices.Contains(reasons, reason) && (wanted["stage"] == nil || slices.Contains(wanted["stage"], stage))
		}
		if !found {
			t.Errorf("%s asks for the reason %s in %s, which there is not", where, reason, within)
		}
	}
}

// documentedLedger is the reasons in the table of docs/operating.md, by stage.
func documentedLedger(t *testing.T) map[string][]string {
	t.Helper()
	_, section, _ := strings.Cut(document(t, "operating.md"), "\n## The ledger\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string][]string{}
	for _, row := range ledgerRow.FindAllStringSubmatch(section, -1) {
		terms := row[2]
		if row[1] == "http" { // whose reasons stand in one line, with what they mean
			terms = row[3]
		}
		for _, term := range quotedTerm.FindAllStringSubmatch(terms, -1) {
			documented[row[1]] = append(documented[row[1]], term[1])
		}
	}
	return documented
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
