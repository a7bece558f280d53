package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// number is a float64 that JSON has null for where it is none.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return json.Marshal(f)
	}
	return []byte("null"), nil
}

func numbers(list []float64) []number {
	out := make([]number, len(list))
	for i, f := range list {
		out[i] = number(f)
	}
	return out
}

type (
	jsonReport struct {
		Generator string       `json:"generator"`
		Title     string       `json:"title"`
		Command   string       `json:"command"`
		StartedAt string       `json:"started_at"` // RFC 3339, UTC
		Machine   Machine      `json:"machine"`
		Results   []jsonResult `json:"results"`
		Charts    []jsonChart  `json:"charts"`
		Notes     []string     `json:"notes"`
	}
	jsonResult struct {
		Name    string       `json:"name"`
		Runs    int          `json:"runs"`
		Metrics []jsonMetric `json:"metrics"`
	}
	jsonMetric struct {
		Value number `json:"value"`
		Unit  string `json:"unit"`
	}
	jsonChart struct {
		Name   string       `json:"name"`
		Title  string       `json:"title"`
		XLabel string       `json:"x_label"`
		YLabel string       `json:"y_label"`
		LogX   bool         `json:"log_x"`
		LogY   bool         `json:"log_y"`
		Series []jsonSeries `json:"series,omitempty"`
		Legend []string     `json:"legend,omitempty"`
		Bars   []jsonBar    `json:"bars,omitempty"`
	}
	jsonSeries struct {
		Name string   `json:"name"`
		X    []number `json:"x"`
		Y    []number `json:"y"`
	}
	jsonBar struct {
		Label  string   `json:"label"`
		Values []number `json:"values"`
	}
)

// WriteJSON writes the report as one indented JSON object. A number that is
// none (a ratio to nothing) is null.
func (r *Report) WriteJSON(w io.Writer) error {
	if err := r.validate(); err != nil {
		return err
	}
	out := jsonReport{
		Generator: generator, Title: r.Title, Command: r.Command, StartedAt: r.StartedAt.UTC().Format(time.RFC3339), Machine: r.Machine,
		Results: []jsonResult{}, Charts: []jsonChart{}, Notes: append([]string{}, r.Notes...),
	}
	for _, result := range r.Results {
		j := jsonResult{Name: result.Name, Runs: result.Runs, Metrics: []jsonMetric{}}
		for _, m := range result.Metrics {
			j.Metrics = append(j.Metrics, jsonMetric{number(m.Value), m.Unit})
		}
		out.Results = append(out.Results, j)
	}
	for _, c := range joinCharts(r.Charts) {
		out.Charts = append(out.Charts, newJSONChart(&c))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

func newJSONChart(c *Chart) jsonChart {
	j := jsonChart{
		Name: c.Name, Title: c.Title, XLabel: c.XLabel, YLabel: c.YLabel,
		LogX: c.LogX, LogY: c.LogY, Legend: c.Legend,
	}
	for _, s := range c.Series {
		j.Series = append(j.Series, jsonSeries{s.Name, numbers(s.X), numbers(s.Y)})
	}
	for _, b := range c.Bars {
		j.Bars = append(j.Bars, jsonBar{b.Label, numbers(b.Values)})
	}
	return j
}
