package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/xdp"
)

// The ledger as the documents and the metrics have it.
var (
	ledgerRow     = regexp.MustCompile("(?m)^\\| ([…`][^|]*)\\|([^|]*)\\|([^|]*)\\|")
	quotedTerm    = regexp.MustCompile("`([a-z_0-9]+)`")
	ledgerMatcher = regexp.MustCompile(`finwait_ledger_total\{([^}]*)\}`)
	ledgerLabel   = regexp.MustCompile(`\b(stage|reason)\s*(=~|=)\s*\\?"([^"\\]*)\\?"`)
	servedLedger  = regexp.MustCompile(`(?m)^finwait_ledger_total\{[^}]*loss="([^"]*)"[^}]*reason="([^"]*)",stage="([^"]*)"\}`)
)

// ledgerLine is one line of a ledger, whosever it is.
type ledgerLine struct{ stage, reason string }

// ledgerLines are those of a ledger, and whether each is a loss.
type ledgerLines map[ledgerLine]bool

func ledgerOf(ledger []api.LedgerEntry) ledgerLines {
	found := ledgerLines{}
	for _, e := range ledger {
		found[ledgerLine{e.Stage, e.Reason}] = e.Loss
	}
	return found
}

// reasons are those of the lines, by stage.
func (l ledgerLines) reasons() map[string][]string {
	found := map[string][]string{}
	for line := range l {
		found[line.stage] = append(found[line.stage], line.reason)
	}
	return found
}

// checkDocumented wants every line that is served to be in the documents with the same
// word on whether it is a loss, and the other way round.
func checkDocumented(t *testing.T, served, documented ledgerLines) {
	t.Helper()
	for line, loss := range served {
		if told, found := documented[line]; !found || told != loss {
			t.Errorf("%s %s, a loss: %v; in the documents: %v, a loss: %v", line.stage, line.reason, loss, found, told)
		}
	}
	for line := range documented {
		if _, found := served[line]; !found {
			t.Errorf("the documents have %s %s, which is not served", line.stage, line.reason)
		}
	}
}

// On a tap, whichever way it accounts, all that the ledger has is documented, and
// nothing else.
func TestTapsLedgerIsDocumented(t *testing.T) {
	served := ledgerLines{}
	for name, sequence := range map[string]bool{"counted": false, "sequence": true} {
		t.Run(name, func(t *testing.T) {
			a := newSite(t, 1).appliance(func(c *applianceConfig) { c.tap.Sequence, c.records = sequence, io.Discard })
			maps.Copy(served, ledgerOf(a.status().Ledger))
		})
	}
	checkDocumented(t, served, documentedLedger(t, "operating.md"))
}

// checkGatewaysDocument holds docs/gateway.md against the ledger of a gateway that tells
// owners: it has the lines in place of those of a tap's frames, and what there is more.
func checkGatewaysDocument(t *testing.T, ledger []api.LedgerEntry) {
	t.Helper()
	documented := documentedLedger(t, "operating.md")
	maps.DeleteFunc(documented, func(line ledgerLine, _ bool) bool {
		return slices.Contains([]string{xdp.StageNIC, xdp.StageProgram, xdp.StageSocket}, line.stage)
	})
	maps.Copy(documented, documentedLedger(t, "gateway.md"))
	checkDocumented(t, ledgerOf(ledger), documented)
}

// checkDocuments holds what the documents say of the ledger against what an
// appliance on a tap that is told by its kernel's counters serves: every line is in the
// table of docs/operating.md, and the alerts and the dashboard ask for none that
// there is not.
func checkDocuments(t *testing.T, metrics string) {
	t.Helper()
	served := ledgerLines{}
	for _, line := range servedLedger.FindAllStringSubmatch(metrics, -1) {
		served[ledgerLine{line[3], line[2]}] = line[1] == "true"
	}
	documented := documentedLedger(t, "operating.md")
	for line, loss := range served {
		if told, found := documented[line]; !found || told != loss {
			t.Errorf("%s %s, a loss: %v; in docs/operating.md: %v, a loss: %v", line.stage, line.reason, loss, found, told)
		}
	}
	asked, reasons := 0, served.reasons()
	for _, name := range []string{"prometheus-rules.yml", "grafana-dashboard.json"} {
		for _, within := range ledgerMatcher.FindAllStringSubmatch(document(t, name), -1) {
			asked++
			checkLedgerMatcher(t, name, within[1], reasons)
		}
	}
	if asked < 3 || len(reasons) < 6 {
		t.Errorf("%d questions in the documents about the ledger of %d stages", asked, len(reasons))
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

// documentedLedger is the lines in the tables of a document's section on the ledger.
func documentedLedger(t *testing.T, name string) ledgerLines {
	t.Helper()
	_, section, _ := strings.Cut(document(t, name), "\n## The ledger\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := ledgerLines{}
	var stages []string
	terms := func(text string) (list []string) {
		for _, term := range quotedTerm.FindAllStringSubmatch(text, -1) {
			list = append(list, term[1])
		}
		return list
	}
	for _, row := range ledgerRow.FindAllStringSubmatch(section, -1) {
		// The first cell is a stage and its reasons; several stages end in a colon, and …
		// stands for those of the row before.
		before, after, several := strings.Cut(row[1], ":")
		reasons := terms(before)
		switch {
		case several:
			stages, reasons = reasons, terms(after)
		case !strings.HasPrefix(row[1], "…"):
			stages, reasons = reasons[:1], reasons[1:]
		}
		if len(reasons) == 0 { // they stand in one line, with what they mean
			reasons = terms(row[2])
		}
		for _, stage := range stages {
			for _, reason := range reasons {
				documented[ledgerLine{stage, reason}] = strings.TrimSpace(row[3]) == "yes"
			}
		}
	}
	if len(documented) < 15 {
		t.Fatalf("only %d lines were found in docs/%s: %v", len(documented), name, documented)
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
