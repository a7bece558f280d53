package api

// Series is what happened in each interval of a time.
type Series struct {
	SinceAt    string        `json:"since_at" format:"date-time" doc:"Where the first interval is cut"`
	UntilAt    string        `json:"until_at" format:"date-time" doc:"Where the last interval is cut; never later than now"`
	IntervalNS int64         `json:"interval_ns"`
	Points     []SeriesPoint `json:"points" nullable:"false" doc:"Oldest first, one for each interval, without gaps"`
	History    HistorySpan   `json:"history"`
}

// SeriesPoint is one interval. Connections that are still followed count too.
type SeriesPoint struct {
	At          string     `json:"at" format:"date-time" doc:"When the interval begins: a multiple of its length since the epoch"`
	Partial     bool       `json:"partial" doc:"The interval is cut by since_at or until_at: its counts are of the part between"`
	Complete    bool       `json:"complete" doc:"The history reaches back to the interval's beginning; where it does not, what is counted is less than what was"`
	Opens       uint64     `json:"opens" doc:"Connections whose first segment came in the interval"`
	Closes      uint64     `json:"closes" doc:"Connections that ended in it: by the last ACK or a RST, else by their last segment"`
	Concurrency uint64     `json:"concurrency" doc:"Connections that were open at the interval's end, or at until_at"`
	Kinds       KindCounts `json:"kinds" doc:"The closes, by close_kind"`
	PhasesStats
}

// KindCounts are connections by close_kind.
type KindCounts struct {
	Refused      uint64 `json:"refused"`
	Reset        uint64 `json:"reset"`
	Simultaneous uint64 `json:"simultaneous"`
	ThreeWay     uint64 `json:"three_way"`
	FourWay      uint64 `json:"four_way"`
	HalfClosed   uint64 `json:"half_closed"`
	Unanswered   uint64 `json:"unanswered"`
	HalfOpen     uint64 `json:"half_open"`
	Open         uint64 `json:"open"`
}

// StreamLost is the data of the stream's event lost.
type StreamLost struct {
	Records uint64 `json:"records" doc:"Records that were overwritten before this reader took them, whether or not they fit its filters"`
}
