package accesslog

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
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
}

// appendJSON is the atom that writes a whole line in the format json. Bytes that are no UTF-8 become
// U+FFFD.
func appendJSON(line []byte, rec *engine.Record) []byte {
	path, query, _ := strings.Cut(rec.Request.RequestURI, "?")
	closed := engine.Closing{}
	if rec.Close != nil {
		closed = *rec.Close
	}
	text, err := json.Marshal(jsonLine{
		Time: rec.Begin, Client: rec.Client(), User: rec.User(), Method: rec.Request.Method, Path: path, Query: query,
		Protocol: string(protocolOf(rec)), Status: statusOf(rec), Bytes: rec.Bytes, Seconds: rec.Duration.Seconds(),
		Reason: rec.Reason, CloseCode: closed.Code, CloseReason: closed.Reason,
		Referer: rec.Header("Referer"), UserAgent: rec.Header("User-Agent"), Host: rec.Header("Host"),
		RequestID: rec.ResponseHeader("x-request-id"),
	})
	if err != nil {
		return append(line, '-') // jsonLine has no field that cannot be encoded
	}
	return append(line, text...)
}

// hostOf returns the host of an address, "" of a Unix socket's.
func hostOf(remote string) string {
	i := strings.LastIndexByte(remote, ':')
	if i <= 0 {
		return ""
	}
	return strings.Trim(remote[:i], "[]")
}

func protocolOf(rec *engine.Record) []byte {
	if rec.Request.Proto == "" && rec.Request.ProtoMajor < 2 {
		return nil
	}
	return appendProtocol(nil, rec)
}

// statusOf returns the status of the response, 499 where the client has left before there was one.
func statusOf(rec *engine.Record) int {
	if rec.Status == 0 {
		return 499
	}
	return rec.Status
}
