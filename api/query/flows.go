package query

import (
	"context"
	"slices"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// Row is a record that fits.
type Row struct {
	Record   flowtable.Record
	Names    *api.Names
	Position uint64 // in the history
}

// Page is one page of records.
type Page struct {
	Rows []Row
	// Next is the cursor of the next page, empty on the last.
	Next string
	Span history.Span
}

// Flows returns at most limit records that fit, in an order. cursor is that of
// the page before, empty for the first. The error may be ErrCursor or ErrGone.
func Flows(ctx context.Context, h history.History, f *Filter, o Order, limit int, after string) (*Page, error) {
	p := &Page{Span: h.Span()}
	c, err := f.begin(ctx, h, &o, p.Span, after)
	if err != nil {
		return nil, err
	}
	if o.ByPublication() {
		return p, p.fill(ctx, h, f, &o, limit, c, after != "")
	}
	return p, p.rank(ctx, h, f, &o, limit, c, after != "")
}

// begin is the cursor of a page: it says which positions to ask about.
func (f *Filter) begin(ctx context.Context, h history.History, o *Order, span history.Span, after string) (*cursor, error) {
	question := hashQuestion(f, o)
	if after == "" {
		r, err := f.positions(ctx, h, span)
		return &cursor{question: question, history: span.ID, first: r.First, last: r.End}, err
	}
	c, err := parseCursor(after)
	if err != nil {
		return nil, err
	}
	rest := c.last // what is still to be shown ends here
	if o.ByPublication() && o.Descending {
		rest = c.end.id
	}
	switch {
	case c.question != question:
		return nil, ErrCursor
	case c.history != span.ID, rest <= span.First && rest > c.first, c.last > span.End:
		return nil, ErrGone
	}
	return &c, nil
}

// positions are those of the records that the filter's since and until leave.
func (f *Filter) positions(ctx context.Context, h history.History, span history.Span) (r history.Range, err error) {
	r = history.Range{First: span.First, End: span.End}
	if f.HasSince {
		if r.First, err = h.Seek(ctx, f.Since); err != nil {
			return r, err
		}
	}
	if f.HasUntil {
		if r.End, err = h.Seek(ctx, f.Until); err != nil {
			return r, err
		}
	}
	r.End = max(r.First, min(r.End, span.End))
	return r, nil
}

// fill takes records in the order of publication, until there are enough.
func (p *Page) fill(ctx context.Context, h history.History, f *Filter, o *Order, limit int, c *cursor, continued bool) error {
	r := history.Range{First: c.first, End: c.last, Ascending: !o.Descending}
	switch {
	case continued && o.Descending:
		r.End = c.end.id
	case continued:
		r.First = c.end.id + 1
	}
	_, err := f.collect(ctx, h, r, func(row *Row) bool {
		if len(p.Rows) == limit { // there is one more: the page has a next
			c.end = ranked{id: p.Rows[limit-1].Position}
			p.Next = c.String()
			return false
		}
		p.Rows = append(p.Rows, *row)
		return true
	})
	return err
}

// collect calls yield for every record that fits, in order. The row is valid
// during the call only.
func (f *Filter) collect(ctx context.Context, h history.History, r history.Range, yield func(*Row) bool) (overwritten uint64, err error) {
	var s selection
	return h.Scan(ctx, r, func(run history.Run) bool {
		in := frameOf(&run)
		rows := f.choose(&s, &in, run.From, run.To)
		for k := range rows {
			i := k
			if !r.Ascending {
				i = len(rows) - 1 - k
			}
			row := Row{Record: run.Block.Record(int(rows[i])), Names: run.Names, Position: run.Position + uint64(rows[i])}
			if !yield(&row) {
				return false
			}
		}
		return true
	})
}

// rank sorts all records that fit, and takes the first after the cursor.
func (p *Page) rank(ctx context.Context, h history.History, f *Filter, o *Order, limit int, c *cursor, continued bool) error {
	var s selection
	first := ranking{order: o, limit: limit + 1}
	_, err := h.Scan(ctx, history.Range{First: c.first, End: c.last}, func(run history.Run) bool {
		in := frameOf(&run)
		entering := first.entering(&in, s.all(run.From, run.To))
		for _, row := range f.narrow(&in, entering, everything) {
			r := ranked{id: run.Position + uint64(row)}
			r.value, r.known = o.by.value(&in, int(row))
			if !r.known {
				r.value = 0
			}
			if !continued || o.compare(r, c.end) > 0 {
				first.offer(r)
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	list := first.sorted()
	if len(list) > limit {
		list = list[:limit]
		c.end = list[limit-1]
		p.Next = c.String()
	}
	for _, r := range list {
		// What was overwritten since is left out.
		if _, err := new(Filter).collect(ctx, h, history.Range{First: r.id, End: r.id + 1}, func(row *Row) bool {
			p.Rows = append(p.Rows, *row)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

// Batches cuts records that fit into pieces. Between two of them it holds
// nothing, so that whoever takes them may be slow.
type Batches struct {
	filter  *Filter
	history history.History
	left    history.Range
	rows    []Row
}

// NewBatches begins with the records that are kept now, in the order of their
// publication or its reverse.
func NewBatches(ctx context.Context, h history.History, f *Filter, ascending bool) (*Batches, error) {
	r, err := f.positions(ctx, h, h.Span())
	r.Ascending = ascending
	return &Batches{filter: f, history: h, left: r}, err
}

// Begin makes a position the first to look at.
func (b *Batches) Begin(position uint64) {
	b.left.First = position
	b.left.End = max(b.left.End, position)
}

// Extend goes on to the records that were published since.
func (b *Batches) Extend() { b.left.End = max(b.left.End, b.history.Span().End) }

// Next returns the records that fit of the next block that has any, none at the
// end. They are valid until the next call. overwritten is how many records went
// before they could be looked at.
func (b *Batches) Next(ctx context.Context) (rows []Row, overwritten uint64, err error) {
	b.rows = b.rows[:0]
	var s selection
	overwritten, err = b.history.Scan(ctx, b.left, func(run history.Run) bool {
		in := frameOf(&run)
		for _, row := range b.filter.choose(&s, &in, run.From, run.To) {
			b.rows = append(b.rows, Row{Record: run.Block.Record(int(row)), Names: run.Names, Position: run.Position + uint64(row)})
		}
		if b.left.Ascending {
			b.left.First = run.Position + uint64(run.To)
		} else {
			b.left.End = run.Position + uint64(run.From)
		}
		return len(b.rows) == 0
	})
	if err != nil {
		return nil, overwritten, err
	}
	if !b.left.Ascending {
		b.left.First += overwritten // the oldest went, and are not missed again
	}
	switch {
	case len(b.rows) == 0 && b.left.Ascending:
		b.left.First = b.left.End
	case len(b.rows) == 0:
		b.left.End = b.left.First
	case !b.left.Ascending:
		slices.Reverse(b.rows)
	}
	return b.rows, overwritten, nil
}

// Find returns the record of a flow_id; it is false where none is kept.
func Find(ctx context.Context, h history.History, flowID string) (row Row, found bool, err error) {
	span := h.Span()
	_, err = h.Scan(ctx, history.Range{First: span.First, End: span.End}, func(run history.Run) bool {
		serial, ok := run.Names.Serial(flowID)
		if !ok {
			return true
		}
		for i := run.From; i < run.To; i++ {
			if run.Block.Serial[i] == serial {
				row = Row{Record: run.Block.Record(i), Names: run.Names, Position: run.Position + uint64(i)}
				found = true
				return false
			}
		}
		return true
	})
	return row, found, err
}
