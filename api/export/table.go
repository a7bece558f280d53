package export

import (
	"io"
	"net/netip"
	"strconv"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// column is one column of the table. Numbers are aligned at the right.
type column struct {
	title string
	width int
	right bool
}

// columns are wide enough for IPv4 and for most IPv6 endpoints.
var columns = [...]column{
	{"CLIENT", 26, false},
	{"SERVER", 26, false},
	{"KIND", 12, false},
	{"BY", 6, false},
	{"FIN_WAIT_1", 10, true},
	{"CLOSE_WAIT", 10, true},
	{"LAST_ACK", 10, true},
	{"BYTES", 19, true},
	{"STATE", 0, false},
}

// Table writes aligned columns for people, a line per record, under a heading:
// both ends, the kind of close, who closed, the three waits of the closing, IP
// octets of client/server, and the states of client/server. "-" stands for what
// is not known.
//
// Columns stand at fixed places, since lines are written as records come. A
// long IPv6 endpoint is written whole; the cells behind it move to the right by
// as little as they must, and the line is back in place as soon as it can.
type Table struct {
	out   text
	begun bool
}

// NewTable makes a sink that writes to w, which stays the caller's to close.
func NewTable(w io.Writer) *Table { return &Table{out: newText(w)} }

// Write writes a line per record.
func (s *Table) Write(records []flowtable.Record) error {
	s.begin()
	for i := range records {
		s.row(&records[i])
		if err := s.out.flush(textChunk); err != nil {
			return err
		}
	}
	return s.out.flush(0)
}

// Close writes the heading where no record came.
func (s *Table) Close() error {
	s.begin()
	return s.out.flush(0)
}

func (s *Table) begin() {
	if s.begun {
		return
	}
	s.begun = true
	l := line{b: s.out.b, start: len(s.out.b)}
	for _, c := range columns {
		l.cell(c.title)
	}
	s.out.b = append(l.b, '\n')
}

func (s *Table) row(r *flowtable.Record) {
	l := line{b: s.out.b, start: len(s.out.b)}
	l.cell(endpoint(&r.Client))
	l.cell(endpoint(&r.Server))
	l.cell(r.CloseKind.String())
	l.cell(orDash(r.Initiator.String()))
	for _, p := range [...]flowtable.Phase{flowtable.FINWait1, flowtable.CloseWait, flowtable.LastACK} {
		l.cell(phase(r, p))
	}
	l.cell(octets(r))
	l.cell(r.Client.State.String() + "/" + r.Server.State.String())
	s.out.b = append(l.b, '\n')
}

// line appends the cells of one line to b, from b[start] on.
type line struct {
	b     []byte
	start int
	next  int // number of the column to come
	place int // where that column stands, in octets from start
}

func (l *line) cell(v string) {
	c := columns[l.next]
	if l.next > 0 {
		l.b = append(l.b, ' ')
	}
	begin := l.place
	if c.right {
		begin = l.place + c.width - len(v)
	}
	for len(l.b)-l.start < begin {
		l.b = append(l.b, ' ')
	}
	l.b = append(l.b, v...)
	l.place += c.width + 1
	l.next++
}

func endpoint(s *flowtable.Side) string {
	return netip.AddrPortFrom(api.Address(&s.Address), s.Port).String()
}

func phase(r *flowtable.Record, p flowtable.Phase) string {
	ns, ok := r.Phase(p)
	if !ok {
		return "-"
	}
	return api.Duration(ns)
}

func octets(r *flowtable.Record) string {
	if r.Accounting == flowtable.AccountingSequence {
		return "-"
	}
	return strconv.FormatUint(r.Client.Octets, 10) + "/" + strconv.FormatUint(r.Server.Octets, 10)
}

func orDash(v string) string {
	if v == "" {
		return "-"
	}
	return v
}
