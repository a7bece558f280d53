package api

// FlowsPage is one page of records.
type FlowsPage struct {
	Flows      []Flow      `json:"flows" nullable:"false" doc:"In the order asked for; newest first without one"`
	NextCursor *string     `json:"next_cursor" doc:"Give it as cursor, with the same question, for the next page; null on the last"`
	History    HistorySpan `json:"history"`
}

// HistorySpan is what the records that were asked could know.
type HistorySpan struct {
	Records     uint64  `json:"records" doc:"Records kept when the question was asked"`
	FromAt      string  `json:"from_at" format:"date-time" doc:"Every record published since then is kept: when the oldest was published, or where none was overwritten yet, when keeping began"`
	NewestAt    *string `json:"newest_at" format:"date-time" doc:"When the newest record was published; null without records"`
	Overwritten uint64  `json:"overwritten" doc:"Records that made room for newer ones since keeping began"`
}
