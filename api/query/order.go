package query

import (
	"cmp"
	"slices"
	"strings"

	"github.com/finwait/finwait/api/history"
)

// Order is what connections are sorted by. Those of which it is not known come
// last, equals the newest first. Its zero value is the oldest published first.
type Order struct {
	by         *quantity // nil: when it was published
	Descending bool
	Text       string
}

// published is the order's name for the order of publication.
const published = "published_at"

// moments can be sorted by, beside the quantities.
var moments = []quantity{
	{name: "start_at", start: 1, value: func(f *frame, i int) (int64, bool) { return f.block.StartAt[i], true }},
	{name: "end_at", needs: accounted, value: func(f *frame, i int) (int64, bool) { return f.block.EndAt[i], true }},
}

// Orders lists what can be sorted by, without the minus of descending.
func Orders(of Scope) []string {
	var list []string
	if of == Records {
		list = append(list, published)
	}
	for _, q := range slices.Concat(moments, quantities) {
		if of == Followed || !q.live {
			list = append(list, q.name)
		}
	}
	return list
}

// ParseOrder reads the name of an order, with a minus for descending.
func ParseOrder(text string, of Scope) (Order, error) {
	o := Order{Text: text}
	name, descending := strings.CutPrefix(text, "-")
	o.Descending = descending
	choice := Orders(of)
	if !slices.Contains(choice, name) {
		return o, oneOf(choice)
	}
	if name == published {
		return o, nil
	}
	if o.by = findQuantity(name); o.by == nil {
		o.by = &moments[slices.IndexFunc(moments, func(q quantity) bool { return q.name == name })]
	}
	return o, nil
}

// ByPublication tells whether records stand in the order in which they were
// published, or its reverse.
func (o *Order) ByPublication() bool { return o.by == nil }

// byHalfClosed tells whether connections that are half closed are sorted by a time that is
// at most the time since their FIN, longest first.
func (o *Order) byHalfClosed() bool { return o.by.half && o.Descending }

// ranked is a connection in an order.
type ranked struct {
	value int64
	known bool
	id    uint64 // of two equals, the greater comes first
	slot  int    // see ranking.offer
}

// compare is below 0 where a comes first.
func (o *Order) compare(a, b ranked) int {
	if a.known != b.known {
		if a.known {
			return -1
		}
		return 1
	}
	c := 0
	if a.known {
		c = cmp.Compare(a.value, b.value)
	}
	if o.Descending {
		c = -c
	}
	return cmp.Or(c, cmp.Compare(b.id, a.id))
}

// ranking keeps the first of an order, in a heap whose root is the last of
// them.
type ranking struct {
	order *Order
	limit int
	heap  []ranked
}

// offer takes r where it is among the first. It returns the slot of r, which is
// below limit and was that of what had to go for it.
func (k *ranking) offer(r ranked) (slot int, taken bool) {
	if len(k.heap) < k.limit {
		r.slot = len(k.heap)
		k.heap = append(k.heap, r)
		for i := r.slot; i > 0 && k.order.compare(k.heap[i], k.heap[(i-1)/2]) > 0; i = (i - 1) / 2 {
			k.heap[i], k.heap[(i-1)/2] = k.heap[(i-1)/2], k.heap[i]
		}
		return r.slot, true
	}
	if k.limit == 0 || k.order.compare(r, k.heap[0]) > 0 {
		return 0, false
	}
	r.slot = k.heap[0].slot
	k.heap[0] = r
	for i := 0; ; {
		last := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(k.heap); child++ {
			if k.order.compare(k.heap[child], k.heap[last]) > 0 {
				last = child
			}
		}
		if last == i {
			return r.slot, true
		}
		k.heap[i], k.heap[last] = k.heap[last], k.heap[i]
		i = last
	}
}

// entering leaves the rows of records that may be among the first, as far as
// their codes tell. What was offered before is newer than they are.
func (k *ranking) entering(f *frame, rows []uint16) []uint16 {
	if !k.order.by.coded || len(k.heap) == 0 || len(k.heap) < k.limit || !k.heap[0].known {
		return rows
	}
	last := k.heap[0].value
	least, greatest := codesWithin(last, !k.order.Descending)
	// Of equals the newer come first: an older one is not among them any more.
	if history.Encode(last).Exact() {
		switch {
		case k.order.Descending:
			least++
		case greatest == 0:
			return rows[:0]
		default:
			greatest--
		}
	}
	return f.narrowCodes(k.order.by.phase, rows, least, greatest, false)
}

// last is the last that is kept, once no more are than limit.
func (k *ranking) last() (r ranked, full bool) {
	if len(k.heap) < k.limit || k.limit == 0 {
		return r, false
	}
	return k.heap[0], true
}

// sorted returns what was kept, first to last; nothing may be offered after.
func (k *ranking) sorted() []ranked {
	slices.SortFunc(k.heap, k.order.compare)
	return k.heap
}
