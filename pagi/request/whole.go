package request

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// bodyKey is the key of an exchange's *body in its Stash.
type bodyKey struct{}

// body is the request body of one exchange, which all its Requests share.
type body struct {
	mu       sync.Mutex
	state    bodyState
	data     []byte       // of a whole body
	trailers pagi.Headers // behind it
	form     *Multipart   // of a multipart form that was read whole
	err      error        // why the body cannot be had
}

// bodyState says how a body was read. It changes once.
type bodyState uint8

const (
	untouched bodyState = iota
	whole               // data has all of it
	parsed              // form has all of it
	streamed            // somebody reads a stream of it
	failed              // err says why
)

func (r *Request) body() *body {
	return r.scope.Stash.Once(bodyKey{}, func() any { return &body{} }).(*body)
}

// Bytes returns the whole request body, at most Limits.Body bytes of it. The caller must not change
// it: others get the same bytes. The error is ErrDisconnected, a *BodyError, ErrStreamed,
// ErrBodyRead, or one of Receive.
func (r *Request) Bytes() ([]byte, error) {
	limit := or(r.Limits.Body, mib)
	b := r.body()
	b.mu.Lock()
	state := b.state
	if declared := r.declared(); state == untouched && limit > 0 && declared > limit {
		b.mu.Unlock()
		return nil, tooLarge("the body", limit, "bytes") // nothing is read: it can be had otherwise
	}
	if state == untouched {
		b.state = streamed // until all of it is there
	}
	b.mu.Unlock()
	if state == untouched {
		r.readWhole(b, limit)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.state == failed:
		return nil, b.err
	case b.state != whole:
		return nil, ErrStreamed
	case limit > 0 && int64(len(b.data)) > limit:
		return nil, tooLarge("the body", limit, "bytes")
	}
	return b.data, nil
}

var errNoBody = errors.New("request: the handshake of a WebSocket has no body")

// readWhole reads the body into memory, and notes the outcome.
func (r *Request) readWhole(b *body, limit int64) {
	data, trailers, err := r.readAll(limit)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.state, b.err = failed, err
		return
	}
	b.state, b.data, b.trailers = whole, data, trailers
}

// declared returns the request's Content-Length, 0 if it is not known.
func (r *Request) declared() int64 {
	n, err := strconv.ParseInt(r.Header("content-length"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (r *Request) readAll(limit int64) ([]byte, pagi.Headers, error) {
	if r.scope.Type == pagi.TypeWebSocket {
		return nil, nil, errNoBody
	}
	src := BodyReader(r.ctx, r.receive)
	var data bytes.Buffer
	if declared := r.declared(); declared > 0 {
		data.Grow(int(min(declared, mib)) + bytes.MinRead)
	}
	var from io.Reader = src
	if limit > 0 {
		from = io.LimitReader(src, limit+1)
	}
	if _, err := data.ReadFrom(from); err != nil {
		return nil, nil, err
	}
	if limit > 0 && int64(data.Len()) > limit {
		return nil, nil, tooLarge("the body", limit, "bytes")
	}
	return data.Bytes(), src.Trailers(), nil
}

// Receive returns what an application that comes next gets as its Receive, by how the body was read
// when Receive is called. If it was read whole, it comes again. If it was read as a multipart form
// or as a stream, the next application gets ErrStreamed, and if reading has failed, that error.
func (r *Request) Receive() pagi.Receive {
	b := r.body()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case untouched:
		return r.receive
	case failed:
		err := b.err
		return func(context.Context) (pagi.Event, error) { return nil, err }
	case whole:
		return r.replay(pagi.HTTPRequest{Body: b.data, Trailers: b.trailers})
	}
	return func(context.Context) (pagi.Event, error) { return nil, ErrStreamed }
}

// replay returns a Receive that begins with the whole body.
func (r *Request) replay(body pagi.HTTPRequest) pagi.Receive {
	given := false
	return func(ctx context.Context) (pagi.Event, error) {
		switch {
		case given:
			return r.receive(ctx)
		case r.scope.Type == pagi.TypeSSE:
			given = true
			return pagi.SSERequest(body), nil
		}
		given = true
		return body, nil
	}
}

// Trailers returns the trailers of the request once the body was read whole; see pagi.HTTPRequest.
func (r *Request) Trailers() pagi.Headers {
	b := r.body()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trailers
}

// Text returns the whole body as UTF-8, at most Limits.Body bytes. A body of another charset than
// utf-8 is refused, except for iso-8859-1, which is converted. So is one that is not what its
// charset says.
func (r *Request) Text() (string, error) {
	data, err := r.Bytes()
	if err != nil {
		return "", err
	}
	_, params := r.ContentType()
	switch charset := strings.ToLower(params["charset"]); charset {
	case "", "utf-8", "utf8", "us-ascii":
		if !utf8.Valid(data) {
			return "", malformed("the body is not UTF-8", nil)
		}
		return string(data), nil
	case "iso-8859-1", "latin1":
		return fromLatin1(data), nil
	default:
		return "", &BodyError{Kind: ErrWrongType, Problem: "the charset of the body must be utf-8"}
	}
}

func fromLatin1(data []byte) string {
	var b strings.Builder
	for _, c := range data {
		b.WriteRune(rune(c))
	}
	return b.String()
}

const (
	typeURLEncoded = "application/x-www-form-urlencoded"
	typeMultipart  = "multipart/form-data"
)

// Form returns the fields of a form, URL-encoded or multipart, in order; files are left out. A
// request without a body and a type has an empty form. For a body of another type, the error is a
// *BodyError of ErrWrongType. See Bytes and Multipart for other errors. Malformed percent-encoding
// is kept as it is; see ParseValues.
func (r *Request) Form() (Values, error) { return r.form(false) }

// FormStrict is Form that refuses malformed percent-encoding and text that is not UTF-8.
func (r *Request) FormStrict() (Values, error) { return r.form(true) }

func (r *Request) form(strict bool) (Values, error) {
	mediaType, _ := r.ContentType()
	switch mediaType {
	case typeMultipart:
		form, err := r.Multipart()
		if err != nil {
			return nil, err
		}
		for i, pair := range form.Values {
			if strict && !(utf8.ValidString(pair.Name) && utf8.ValidString(pair.Value)) {
				return nil, &ValuesError{i + 1, "is not UTF-8"}
			}
		}
		return form.Values, nil
	case typeURLEncoded, "":
	default:
		return nil, notAForm()
	}
	data, err := r.Bytes()
	switch fields := or(r.Limits.Fields, 1000); {
	case err != nil:
		return nil, err
	case mediaType == "" && len(data) > 0:
		return nil, notAForm()
	case fields > 0 && bytes.Count(data, []byte("&")) >= fields:
		return nil, tooLarge("the form", fields, "fields")
	}
	if strict {
		return ParseValuesStrict(string(data))
	}
	return ParseValues(string(data)), nil
}

func notAForm() error {
	return &BodyError{Kind: ErrWrongType, Problem: "the body must be a form: " + typeURLEncoded + " or " + typeMultipart}
}

// DecodeForm fills a struct from the fields of the form; see Form and Decode.
func (r *Request) DecodeForm(dst any) error {
	values, err := r.Form()
	if err != nil {
		return err
	}
	return Decode(values, dst)
}

// Close removes the temporary files of uploads. An application that reads forms with files should
// call it in the end; without it, the files are removed when they are no longer referred to.
func (r *Request) Close() error {
	found, ok := r.scope.Stash.Get(bodyKey{})
	if !ok {
		return nil
	}
	b := found.(*body)
	b.mu.Lock()
	form := b.form
	b.mu.Unlock()
	if form == nil {
		return nil
	}
	var errs []error
	for _, upload := range form.Files {
		errs = append(errs, upload.close())
	}
	return errors.Join(errs...)
}
