package accessline

import (
	"encoding/json"
	"strings"
	"time"
)

// jsonLine is a request in the format json.
type jsonLine struct {
	Time        time.Time `json:"time"`
	Client      string    `json:"client,omitempty"`
	User        string    `json:"user,omitempty"`
	Method      string    `json:"method,omitempty"`
	Path        string    `json:"path,omitempty"`
	Query       string    `json:"query,omitempty"`
	Protocol    string    `json:"protocol,omitempty"`
	Status      int       `json:"status"`
	Bytes       int64     `json:"bytes"`
	Seconds     float64   `json:"seconds"`
	Reason      string    `json:"reason,omitempty"`
	CloseCode   int       `json:"close_code,omitempty"`
	CloseReason string    `json:"close_reason,omitempty"`
	Referer     string    `json:"referer,omitempty"`
	UserAgent   string    `json:"user_agent,omitempty"`
	Host        string    `json:"host,omitempty"`
	RequestID   string    `json:"request_id,omitempty"`
	TraceID     string    `json:"trace_id,omitempty"`
}

// appendJSON is the atom that writes a whole line in the format json. Bytes that are no UTF-8 become
// U+FFFD.
func appendJSON(line []byte, rec Facts) []byte {
	path, query, _ := strings.Cut(rec.Target(), "?")
	text, err := json.Marshal(jsonLine{
		Time: rec.Begin(), Client: rec.Client(), User: rec.User(), Method: rec.Method(), Path: path, Query: query,
		Protocol: rec.Protocol(), Status: statusOf(rec), Bytes: rec.Bytes(), Seconds: rec.Duration().Seconds(),
		Reason: rec.Reason(), CloseCode: rec.CloseCode(), CloseReason: rec.CloseReason(),
		Referer: rec.Header("Referer"), UserAgent: rec.Header("User-Agent"), Host: rec.Header("Host"),
		RequestID: rec.ResponseHeader("x-request-id"), TraceID: rec.TraceID(),
	})
	if err != nil {
		return append(line, '-') // jsonLine has no field that cannot be encoded
	}
	return append(line, text...)
}

// statusOf returns the status of the response, 499 where the client has left before there was one.
func statusOf(rec Facts) int {
	if status := rec.Status(); status != 0 {
		return status
	}
	return 499
}
