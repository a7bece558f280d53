package server

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// huma answers a parameter that breaks its schema with 422 and has no setting
// for it, only this hook. 422 is about the content of a request (RFC 9110
// section 15.5.21); a wrong query is 400.
func init() { huma.NewError = problem }

// problem is the answer to every failed request (RFC 9457). Its detail names
// each parameter at fault, so that it is enough to show the detail.
func problem(status int, message string, errs ...error) huma.StatusError {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	p := &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: message}
	var details []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		p.Add(err)
		d := p.Errors[len(p.Errors)-1]
		if name, found := strings.CutPrefix(d.Location, "query."); found {
			name, _, _ = strings.Cut(name, "[")
			details = append(details, `parameter "`+name+`": `+d.Message)
		} else {
			details = append(details, d.Message)
		}
	}
	if len(details) > 0 {
		p.Detail = strings.Join(details, "; ")
	}
	return p
}

// badParameter is a problem with one parameter of the query.
func badParameter(name, value, message string) *huma.ErrorDetail {
	return &huma.ErrorDetail{Location: "query." + name, Value: value, Message: message}
}

// writeProblem answers where no operation of huma was reached.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	// An ErrorModel of strings and one number is always encodable.
	body, _ := json.Marshal(problem(status, detail))
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	// The client is gone where this fails; there is nobody left to tell.
	_, _ = w.Write(append(body, '\n'))
}
