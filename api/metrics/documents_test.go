package metrics

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// expressions are those of the alerts and of the dashboard in docs.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, rule := range alertRule.FindAllSubmatch(read("prometheus-rules.yml"), -1) {
		where := "alert " + string(rule[1])
		for _, label := range alertLabel.FindAllSubmatch(rule[3], -1) { // as a legend names them
			where += " {{" + string(label[1]) + "}}"
		}
		all[where] = string(rule[2])
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(read("grafana-dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.LegendFormat] = target.Expr
		}
	}
	return all
}

var (
	alertRule  = regexp.MustCompile(`(?m)^      - alert: (\w+)\n        expr: (?:\|\n)?((?:.*\n)(?: {10,}.*\n)*)((?: {8}.*\n)*)`)
	alertLabel = regexp.MustCompile(`\{\{ \$labels\.([a-z_]+) \}\}`)
	metricName = regexp.MustCompile(`\b(finwait|go|process)_[a-z0-9_]+(\{[^}]*\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(=~|=)\s*"([^"]*)"`)
	byLabels   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	legend     = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

// The alerts and the dashboard name metrics, labels and values that there are.
func TestDocumentsNameMetrics(t *testing.T) {
	m := New(testConfig())
	m.Answered("/v1/flows", 200, 1)
	if err := m.Connections.Write(randomRecords(5000)); err != nil { // every kind is met
		t.Fatal(err)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]map[string][]string{} // values by label by metric
	for _, f := range families {
		of := map[string][]string{"instance": nil, "job": nil, "le": nil} // which Prometheus adds
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				of[l.GetName()] = append(of[l.GetName()], l.GetValue())
			}
		}
		labels[f.GetName()] = of
	}
	used := map[string]bool{}
	for where, expression := range expressions(t) {
		known := []map[string][]string{}
		if strings.HasPrefix(expression, "up{") { // which Prometheus has of every target
			known = append(known, map[string][]string{"instance": nil, "job": nil})
		}
		for _, name := range metricName.FindAllString(expression, -1) {
			name, within, _ := strings.Cut(name, "{")
			name = strings.TrimSuffix(name, "_bucket")
			of, found := labels[name]
			if !found {
				t.Errorf("%s: there is no %s", where, name)
				continue
			}
			used[name] = true
			known = append(known, of)
			for _, match := range matcher.FindAllStringSubmatch(within, -1) {
				checkMatcher(t, where, name, of, match)
			}
		}
		var asked []string
		for _, list := range byLabels.FindAllStringSubmatch(expression, -1) {
			asked = append(asked, strings.Split(list[1], ", ")...)
		}
		for _, label := range legend.FindAllStringSubmatch(where, -1) {
			asked = append(asked, label[1])
		}
		for _, label := range asked {
			if !slices.ContainsFunc(known, func(of map[string][]string) bool { _, found := of[label]; return found }) {
				t.Errorf("%s: nothing in it has a label %s", where, label)
			}
		}
	}
	if len(used) < 15 {
		t.Errorf("only %d metrics are used: %v", len(used), used)
	}
}

func checkMatcher(t *testing.T, where, name string, labels map[string][]string, match []string) {
	t.Helper()
	values, found := labels[match[1]]
	if !found {
		t.Errorf("%s: %s has no label %s", where, name, match[1])
		return
	}
	if strings.HasPrefix(match[3], "$") || values == nil || name == "finwait_ledger_total" && match[1] != "loss" {
		return // chosen by the reader, or of the appliance's ledger
	}
	for value := range strings.SplitSeq(match[3], "|") {
		if !slices.Contains(values, value) {
			t.Errorf("%s: %s has no %s=%q", where, name, match[1], value)
		}
	}
}
