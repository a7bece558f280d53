package access

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
)

// reason is why a connection or a request was refused.
type reason uint8

const (
	connectionLimit reason = iota
	connectionDisplaced
	noRequest
	slowRequest
	headerTooLarge
	malformedRequest
	tlsHandshake
	slowReader
	bodyTooLarge
	pathTraversal
	foreignHost
	foreignPage
	tokenMissing
	tokenWrong
	badRequest
	notFound
	methodNotAllowed
	tooBusy
	otherRefusal

	reasons = int(otherRefusal) + 1
)

// reasonNames are their names in the ledger.
var reasonNames = [reasons]string{
	connectionLimit:     "connection_limit",     // all were being served
	connectionDisplaced: "connection_displaced", // made room, having waited longest
	noRequest:           "no_request",           // nothing came
	slowRequest:         "slow_request",         // not whole in time
	headerTooLarge:      "header_too_large",
	malformedRequest:    "malformed_request",
	tlsHandshake:        "tls_handshake",
	slowReader:          "slow_reader", // the answer was not taken in time
	bodyTooLarge:        "body_too_large",
	pathTraversal:       "path_traversal",
	foreignHost:         "foreign_host",
	foreignPage:         "foreign_page",
	tokenMissing:        "token_missing",
	tokenWrong:          "token_wrong",
	badRequest:          "bad_request", // 400
	notFound:            "not_found",
	methodNotAllowed:    "method_not_allowed",
	tooBusy:             "too_busy", // 503
	otherRefusal:        "other",    // other statuses from 400 on
}

// Refusal is how many connections or requests were refused for one reason.
type Refusal struct {
	Reason string
	Count  uint64
}

// refusals counts them.
type refusals [reasons]atomic.Uint64

func (r *refusals) list() []Refusal {
	all := make([]Refusal, reasons)
	for i := range r {
		all[i] = Refusal{reasonNames[i], r[i].Load()}
	}
	return all
}

// ofStatus is the reason of an answer that a handler gave; false for one that
// is no refusal.
func ofStatus(status int) (reason, bool) {
	switch status {
	case http.StatusBadRequest:
		return badRequest, true
	case http.StatusNotFound:
		return notFound, true
	case http.StatusMethodNotAllowed:
		return methodNotAllowed, true
	case http.StatusServiceUnavailable:
		return tooBusy, true
	default:
		return otherRefusal, status >= http.StatusBadRequest
	}
}

// denial is a request that is refused before a handler sees it.
type denial struct {
	reason reason
	status int
	detail string
}

// write answers with a problem detail (RFC 9457).
func (d *denial) write(w http.ResponseWriter) {
	// A string in Go is always encodable as JSON.
	detail, _ := json.Marshal(d.detail)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(d.status)
	// The client is gone where this fails; there is nobody left to tell.
	_, _ = fmt.Fprintf(w, `{"title":%q,"status":%d,"detail":%s}`+"\n", http.StatusText(d.status), d.status, detail)
}
