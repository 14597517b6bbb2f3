package pagitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Option changes one request.
type Option func(*request)

// request is the request that the options build.
type request struct {
	headers   pagi.Headers
	query     string
	chunks    [][]byte
	after     pagi.Headers // the trailers
	stream    bool         // the body comes from Exchange.Write
	chunked   bool         // its length is not known ahead
	edits     []func(*pagi.Scope)
	slow      bool // the exchange has a backlog, with the marks that follow
	high, low int
	leave     *leaving
	follow    bool     // redirects
	hosts     []string // to these, too
	elsewhere bool     // a redirect has led to another host
	scheme    string   // after a redirect; "": the client's
	host      string   // likewise
}

func newRequest(opts []Option) *request {
	r := &request{}
	for _, o := range opts {
		o(r)
	}
	return r
}

// Header adds a header line.
func Header(name, value string) Option {
	return func(r *request) { r.headers.Add(name, value) }
}

// Query adds name, value pairs to the query string, in order.
func Query(pairs ...string) Option {
	return func(r *request) {
		if r.query != "" {
			r.query += "&"
		}
		r.query += encode(pairs)
	}
}

// Body sends body in one piece, with its Content-Length.
func Body[T string | []byte](body T) Option {
	return func(r *request) { r.body([]byte(body), "") }
}

// Chunks sends a body of unknown length, one http.request event per piece.
func Chunks(pieces ...string) Option {
	return func(r *request) {
		for _, p := range pieces {
			r.chunks = append(r.chunks, []byte(p))
		}
		r.chunked = true
	}
}

// Stream lets the test send the body by Exchange.Write and Exchange.CloseBody. It is for
// Client.Begin.
func Stream() Option {
	return func(r *request) { r.stream, r.chunked = true, true }
}

// Trailer adds a trailer field. It comes with the last event of the body.
func Trailer(name, value string) Option {
	return func(r *request) { r.after.Add(name, value) }
}

// JSON sends value as application/json.
func JSON(value any) Option {
	body, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("pagitest.JSON: %v", err))
	}
	return func(r *request) { r.body(body, "application/json") }
}

// Form sends name, value pairs as application/x-www-form-urlencoded, in order.
func Form(pairs ...string) Option {
	return func(r *request) { r.body([]byte(encode(pairs)), "application/x-www-form-urlencoded") }
}

// Part is one field or file of a multipart form.
type Part struct {
	Name string
	// Filename makes the part a file upload.
	Filename string
	// ContentType is application/octet-stream by default for an upload and not
	// sent for a field.
	ContentType string
	Content     string
}

// Multipart sends parts as multipart/form-data.
func Multipart(parts ...Part) Option {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range parts {
		header := textproto.MIMEHeader{}
		disposition := `form-data; name="` + quote.Replace(p.Name) + `"`
		if p.Filename != "" {
			disposition += `; filename="` + quote.Replace(p.Filename) + `"`
			header.Set("Content-Type", or(p.ContentType, "application/octet-stream"))
		} else if p.ContentType != "" {
			header.Set("Content-Type", p.ContentType)
		}
		header.Set("Content-Disposition", disposition)
		part, err := w.CreatePart(header)
		if err == nil {
			_, err = part.Write([]byte(p.Content))
		}
		if err != nil { // a bytes.Buffer cannot fail
			panic(fmt.Sprintf("pagitest.Multipart: %v", err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("pagitest.Multipart: %v", err))
	}
	return func(r *request) { r.body(body.Bytes(), w.FormDataContentType()) }
}

// quote escapes quotes and line breaks in a form-data name or filename, in the way of browsers.
var quote = strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A")

// Edit changes the scope after all other options.
func Edit(f func(*pagi.Scope)) Option {
	return func(r *request) { r.edits = append(r.edits, f) }
}

// body sets a body of known length; an explicit Content-Type given before or
// after wins.
func (r *request) body(body []byte, contentType string) {
	r.chunks = [][]byte{body}
	if contentType != "" && !r.headers.Has("content-type") {
		r.headers.Add("content-type", contentType)
	}
	r.headers.Set("content-length", strconv.Itoa(len(body)))
}

func encode(pairs []string) string {
	if len(pairs)%2 != 0 {
		panic("pagitest: name, value pairs with an odd number of strings")
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
	}
	return b.String()
}
