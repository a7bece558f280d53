package watch

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Windows that the keys + and - choose from.
var windows = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// Config is what is watched, and how.
type Config struct {
	Appliance Appliance
	Filters   url.Values    // parameters that records and connections both have
	Interval  time.Duration // between two snapshots
	Explain   func(error) error
	Input     io.Reader // a terminal's
	Output    io.Writer
}

// Run shows an appliance until the user quits or ctx ends; the terminal is then
// as it was. The error is the terminal's: an appliance that does not answer is
// shown and asked again.
func Run(ctx context.Context, config Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &model{config: config, ctx: ctx, screen: screen{server: config.Appliance.Server(), window: windows[0], width: 80, height: 24}}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(config.Input), tea.WithOutput(config.Output)).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return err
}

// model is the state of the view.
type model struct {
	config Config
	ctx    context.Context
	screen screen
	asked  int // questions that were begun; only the answer to the last one counts
}

// answered is the outcome of a question.
type answered struct {
	number   int
	snapshot *snapshot
	err      error
}

// due is the time of the next question.
type due struct{ after int }

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.ask() }

// ask begins a question.
func (m *model) ask() tea.Cmd {
	m.asked++
	number, window := m.asked, m.screen.window
	return func() tea.Msg {
		s, err := ask(m.ctx, m.config.Appliance, m.config.Filters, window)
		return answered{number, s, err}
	}
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.screen.width, m.screen.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.press(msg.String())
	case answered:
		if msg.number != m.asked {
			return m, nil // of a window before
		}
		if m.screen.err = msg.err; msg.err == nil {
			m.screen.snapshot = msg.snapshot
		} else {
			m.screen.err = m.config.Explain(msg.err)
		}
		return m, tea.Tick(m.config.Interval, func(time.Time) tea.Msg { return due{msg.number} })
	case due:
		if msg.after == m.asked && !m.screen.paused {
			return m, m.ask()
		}
	}
	return m, nil
}

func (m *model) press(key string) tea.Cmd {
	switch key {
	case "q", "esc", "ctrl+c":
		return tea.Quit
	case "p", "space":
		if m.screen.paused = !m.screen.paused; !m.screen.paused {
			return m.ask()
		}
	case "+", "=":
		return m.widen(1)
	case "-":
		return m.widen(-1)
	}
	return nil
}

// widen takes the next window, by so many.
func (m *model) widen(by int) tea.Cmd {
	for i, w := range windows {
		if next := i + by; w == m.screen.window && next >= 0 && next < len(windows) {
			m.screen.window = windows[next]
			return m.ask()
		}
	}
	return nil
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen.lines(), "\n"))
	v.AltScreen, v.WindowTitle = true, "finwait watch"
	return v
}
