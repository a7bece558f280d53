package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/console"
)

// Widths of what stands side by side, in columns.
const (
	phasesWidth = 54
	kindsGap    = 2
	kindsWidth  = 24
	minWidth    = 40
)

var (
	strong = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	good   = lipgloss.NewStyle().Foreground(lipgloss.Green)
	alarm  = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.White).Background(lipgloss.Red)
	notice = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
)

// screen is what is shown, and where.
type screen struct {
	server        string
	window        time.Duration
	snapshot      *snapshot // nil before the first
	err           error     // of the last question; nil where it was answered
	paused        bool
	width, height int
}

// lines are the whole screen, no more than it is high and each no wider.
func (s *screen) lines() []string {
	head := []string{s.title()}
	if s.err != nil {
		head = append(head, alarm.Render(" "+s.err.Error()+" "))
	}
	foot := []string{faint.Render("q quit   p pause   + - window   " + s.state())}
	if s.snapshot == nil {
		if s.err == nil {
			head = append(head, "asking …")
		}
		return s.fit(append(head, foot...))
	}
	head = append(head, s.ledger()...)
	foot = append([]string{""}, foot...)
	body := slices.Concat([]string{""}, s.rates(), []string{""}, s.middle(), []string{""})
	room := s.height - len(head) - len(body) - len(foot)
	return s.fit(slices.Concat(head, body, s.waiting(room), foot))
}

// fit cuts lines to the terminal; the last one stays.
func (s *screen) fit(lines []string) []string {
	if n := len(lines); n > s.height && s.height > 0 {
		lines = append(lines[:s.height-1], lines[n-1])
	}
	for i := range lines {
		lines[i] = lipgloss.NewStyle().MaxWidth(max(s.width, 1)).Render(lines[i])
	}
	return lines
}

func (s *screen) title() string {
	left := strong.Render("finwait") + "  " + console.Clean(s.server)
	if s.snapshot != nil {
		left += fmt.Sprintf("  up %s  %d followed", uptime(s.snapshot.status.UptimeNS), s.snapshot.status.Table.Connections)
	}
	return left
}

func (s *screen) state() string {
	text := "last " + short(s.window)
	if s.snapshot != nil {
		text += "   " + s.snapshot.at.Format(time.TimeOnly)
	}
	if s.paused {
		text += "   PAUSED"
	}
	return text
}

// ledger says what was lost, loudly.
func (s *screen) ledger() []string {
	lost := s.snapshot.losses()
	if len(lost) == 0 {
		return []string{good.Render("lost: nothing")}
	}
	slices.SortStableFunc(lost, func(a, b api.LedgerEntry) int { return cmp.Compare(b.Count, a.Count) })
	var names []string
	for _, e := range lost {
		names = append(names, fmt.Sprintf("%s %s %d", console.Clean(e.Stage), console.Clean(e.Reason), e.Count))
	}
	return []string{alarm.Render(fmt.Sprintf(" LOST %d: %s ", s.snapshot.status.Lost, strings.Join(names, ", ")))}
}

func (s *screen) rates() []string {
	rate := func(name string, of func(*api.SeriesPoint) uint64) string {
		return name + " " + strong.Render(perSecond(s.snapshot.rate(of))) + "/s"
	}
	opens := func(p *api.SeriesPoint) uint64 { return p.Opens }
	concurrency := func(p *api.SeriesPoint) uint64 { return p.Concurrency }
	return []string{
		strings.Join([]string{
			rate("opens", opens),
			rate("closes", func(p *api.SeriesPoint) uint64 { return p.Closes }),
			rate("resets", func(p *api.SeriesPoint) uint64 { return p.Kinds.Reset }),
			rate("refused", func(p *api.SeriesPoint) uint64 { return p.Kinds.Refused }),
			rate("unanswered", func(p *api.SeriesPoint) uint64 { return p.Kinds.Unanswered }),
		}, "  "),
		fmt.Sprintf("opens  %s", s.spark(opens)),
		fmt.Sprintf("open   %s %s", s.spark(concurrency), strong.Render(strconv.FormatUint(s.snapshot.open(), 10))),
	}
}

// spark draws the window in one line, its highest point as the full height.
func (s *screen) spark(of func(*api.SeriesPoint) uint64) string {
	steps := []rune("▁▂▃▄▅▆▇█")
	all := s.snapshot.series.Points
	if room := s.width - 20; room > 0 && len(all) > room {
		all = all[len(all)-room:]
	}
	var most uint64
	for i := range all {
		most = max(most, of(&all[i]))
	}
	line := make([]rune, len(all))
	for i := range all {
		line[i] = steps[0]
		if most > 0 {
			line[i] = steps[int(float64(of(&all[i]))/float64(most)*float64(len(steps)-1)+.5)]
		}
	}
	return string(line)
}

// middle is the phases, and the kinds of close beside or below them.
func (s *screen) middle() []string {
	phases, kinds := s.phases(), s.kinds()
	if s.width < phasesWidth+kindsGap+kindsWidth {
		return append(phases, kinds...)
	}
	var lines []string
	for i := range max(len(phases), len(kinds)) {
		left, right := "", ""
		if i < len(phases) {
			left = phases[i]
		}
		if i < len(kinds) {
			right = kinds[i]
		}
		lines = append(lines, lipgloss.NewStyle().Width(phasesWidth+kindsGap).Render(left)+right)
	}
	return lines
}

func (s *screen) phases() []string {
	lines := []string{strong.Render(fmt.Sprintf("%-10s%8s%9s%9s%9s%9s", "PHASE", "COUNT", "P50", "P90", "P99", "MAX"))}
	var all api.PhasesStats
	if len(s.snapshot.teardown.Groups) > 0 {
		all = s.snapshot.teardown.Groups[0].PhasesStats
	}
	for _, p := range []struct {
		name string
		of   *api.PhaseStats
	}{{"fin_wait_1", &all.FINWait1}, {"close_wait", &all.CloseWait}, {"last_ack", &all.LastACK}, {"teardown", &all.Teardown}} {
		lines = append(lines, fmt.Sprintf("%-10s%8d%9s%9s%9s%9s", p.name, p.of.Count, known(p.of.P50NS), known(p.of.P90NS), known(p.of.P99NS), known(p.of.MaxNS)))
	}
	return lines
}

// kinds are the most frequent kinds of close.
func (s *screen) kinds() []string {
	const most = 5
	all, total := s.snapshot.kinds()
	slices.SortStableFunc(all, func(a, b kind) int { return cmp.Compare(b.count, a.count) })
	lines := []string{strong.Render(fmt.Sprintf("%-12s%7s%5s", "KIND", "COUNT", "%"))}
	for _, k := range all[:most] {
		if k.count > 0 {
			lines = append(lines, fmt.Sprintf("%-12s%7d%4.0f%%", k.name, k.count, 100*float64(k.count)/float64(total)))
		}
	}
	return lines
}

// waiting are the connections that have been in CLOSE-WAIT for longest, in as
// many lines as there is room for.
func (s *screen) waiting(room int) []string {
	v := &s.snapshot.closeWait
	title := fmt.Sprintf("CLOSE-WAIT: %d connections", v.Total)
	if v.Total > 0 {
		title = notice.Render(title) + " wait for their application to close"
	}
	lines := []string{title}
	t := console.Table{Columns: []console.Column{{Title: "SINCE", Right: true}, {Title: "WHO WAITS"}, {Title: "PEER"}, {Title: "BYTES", Right: true, Rank: 2}, {Title: "IDLE", Right: true, Rank: 1}}}
	for i := range v.Connections[:max(min(len(v.Connections), room-2), 0)] {
		c := &v.Connections[i]
		client, server := console.Endpoint(c.ClientIP, c.ClientPort), console.Endpoint(c.ServerIP, c.ServerPort)
		if c.ClientState == "CLOSE-WAIT" {
			client, server = server, client
		}
		t.Add(known(c.PhaseNS), server, client, console.Size(c.ClientPayloadBytes+c.ServerPayloadBytes), api.Duration(c.IdleNS))
	}
	if len(t.Rows) == 0 {
		return lines
	}
	var b strings.Builder
	_ = t.Write(&b, max(s.width, minWidth)) // a Builder takes everything
	return append(lines, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
}

func known(ns *int64) string {
	if ns == nil {
		return "-"
	}
	return api.Duration(*ns)
}

func perSecond(rate float64) string {
	if rate > 0 && rate < 10 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return strconv.FormatFloat(rate, 'f', 0, 64)
}

// uptime is a duration of hours and days for people.
func uptime(ns int64) string { return short(time.Duration(ns).Truncate(time.Second)) }

// short leaves out the parts that are 0.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
