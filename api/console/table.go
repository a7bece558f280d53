package console

import (
	"io"
	"strings"
	"unicode/utf8"
)

// gap is what stands between two columns.
const gap = "  "

// Column is one column of a table.
type Column struct {
	Title string
	Right bool // aligned at the right, as numbers are
	Rank  int  // 0 is always shown; the highest is left out first
	Width int  // at least so wide, for rows that are not known yet
}

// Table is an answer for people.
type Table struct {
	Columns []Column
	Rows    [][]string // as many cells as columns
	GoesOn  bool       // on from a table before: without a heading
}

// Add appends a row. What others named is kept from steering the terminal.
func (t *Table) Add(cells ...string) {
	for i := range cells {
		cells[i] = Clean(cells[i])
	}
	t.Rows = append(t.Rows, cells)
}

// Write writes the heading and the rows. Where width is above 0, columns are
// left out until the lines fit, but for those of rank 0.
func (t *Table) Write(w io.Writer, width int) error {
	widths := t.widths()
	shown := t.choose(widths, width)
	titles := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = c.Title
	}
	var b strings.Builder
	if !t.GoesOn {
		t.line(&b, titles, widths, shown)
	}
	for _, row := range t.Rows {
		t.line(&b, row, widths, shown)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = max(c.Width, utf8.RuneCountInString(c.Title))
		for _, row := range t.Rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

// choose says which columns are shown.
func (t *Table) choose(widths []int, width int) []bool {
	shown := make([]bool, len(t.Columns))
	total := -len(gap)
	for i := range shown {
		shown[i] = true
		total += len(gap) + widths[i]
	}
	for width > 0 && total > width {
		last := -1
		for i, c := range t.Columns {
			if shown[i] && c.Rank > 0 && (last < 0 || c.Rank >= t.Columns[last].Rank) {
				last = i
			}
		}
		if last < 0 {
			break
		}
		shown[last] = false
		total -= len(gap) + widths[last]
	}
	return shown
}

func (t *Table) line(b *strings.Builder, cells []string, widths []int, shown []bool) {
	pending := "" // so that no line ends in spaces
	first := true
	for i, cell := range cells {
		if !shown[i] {
			continue
		}
		if !first {
			pending += gap
		}
		first = false
		fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.Columns[i].Right {
			pending += fill
			fill = ""
		}
		if cell != "" {
			b.WriteString(pending)
			b.WriteString(cell)
			pending = ""
		}
		pending += fill
	}
	b.WriteByte('\n')
}
