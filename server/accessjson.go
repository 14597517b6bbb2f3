package server

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// jsonLine is a request in the access log format json.
type jsonLine struct {
	Time        time.Time `json:"time"`
	Client      string    `json:"client,omitempty"`
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

// appendJSON is an atom that is a whole line. What is no UTF-8 becomes U+FFFD.
func appendJSON(line []byte, rec *pagi.HTTPRecord) []byte {
	path, query, _ := strings.Cut(rec.Request.RequestURI, "?")
	closed := pagi.HTTPClose{}
	if rec.Close != nil {
		closed = *rec.Close
	}
	text, err := json.Marshal(jsonLine{
		Time: rec.Begin, Client: hostOf(rec.Request.RemoteAddr), Method: rec.Request.Method, Path: path, Query: query,
		Protocol: string(protocolOf(rec)), Status: statusOf(rec), Bytes: rec.Bytes, Seconds: rec.Duration.Seconds(),
		Reason: rec.Reason, CloseCode: closed.Code, CloseReason: closed.Reason,
		Referer: rec.Header("Referer"), UserAgent: rec.Header("User-Agent"), Host: rec.Header("Host"),
		RequestID: rec.ResponseHeader("x-request-id"),
	})
	if err != nil {
		return append(line, '-') // there is nothing in it that cannot be written
	}
	return append(line, text...)
}

// hostOf is the host of an address; "" of a Unix socket's.
func hostOf(remote string) string {
	i := strings.LastIndexByte(remote, ':')
	if i <= 0 {
		return ""
	}
	return strings.Trim(remote[:i], "[]")
}

func protocolOf(rec *pagi.HTTPRecord) []byte {
	if rec.Request.Proto == "" && rec.Request.ProtoMajor < 2 {
		return nil
	}
	return appendProtocol(nil, rec)
}

// statusOf is the status of the response; 499 where the client left before there was
// one.
func statusOf(rec *pagi.HTTPRecord) int {
	if rec.Status == 0 {
		return 499
	}
	return rec.Status
}
