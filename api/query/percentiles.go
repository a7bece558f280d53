package query

import (
	"slices"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
)

// percentiles are of durations in ns, by the nearest rank; nothing is known
// where count is 0.
type percentiles struct {
	count              uint64
	p50, p90, p99, max int64
}

func (p percentiles) stats() api.PhaseStats {
	if p.count == 0 {
		return api.PhaseStats{}
	}
	return api.PhaseStats{Count: p.count, P50NS: &p.p50, P90NS: &p.p90, P99NS: &p.p99, MaxNS: &p.max}
}

// ranks are the places that p50, p90 and p99 have in the order of n values: of
// the smallest that so many per cent do not exceed.
func ranks(n int) (at [3]int) {
	for i, percent := range [...]int{50, 90, 99} {
		at[i] = (n*percent+99)/100 - 1
	}
	return at
}

// percentilesOf are those of the codes that are known; it puts them in order.
func percentilesOf(codes []history.Code) (p percentiles) {
	slices.Sort(codes)
	unknown, _ := slices.BinarySearch(codes, history.Unknown)
	if codes = codes[:unknown]; len(codes) == 0 {
		return p
	}
	at := ranks(len(codes))
	return percentiles{uint64(len(codes)), codes[at[0]].NS(), codes[at[1]].NS(), codes[at[2]].NS(), codes[len(codes)-1].NS()}
}
