package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// JSONError says where a JSON body is wrong. It is a *pagi.StatusError of 400 to errors.As.
type JSONError struct {
	// Offset is how many bytes of the body come before the fault; Line and Column, from 1, say
	// where that is. They are 0 if it is not known.
	Offset       int64
	Line, Column int
	// Field is the path of the field that does not fit, "address.zip"; "" if it is not about one.
	Field string
	// Problem says what is wrong. It may be shown to the client.
	Problem string
	// Err is the error of encoding/json, if there is one.
	Err error
}

func (e *JSONError) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	}
	if e.Field != "" {
		return "request body: " + where + e.Field + " " + e.Problem
	}
	return "request body: " + where + e.Problem
}

// Unwrap returns ErrMalformed, the cause, and the error with a status.
func (e *JSONError) Unwrap() []error {
	message := strings.TrimPrefix(e.Error(), "request body: ")
	all := []error{ErrMalformed, &pagi.StatusError{Status: http.StatusBadRequest, Message: message}}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}

// JSON decodes the body, one JSON value of at most Limits.Body bytes, into v, which is a pointer.
// The body's type must be application/json or end in "+json": else the error is a *BodyError of
// ErrWrongType, and json.Unmarshal of Bytes is the way round. A body that is malformed, nested
// deeper than Limits.JSONDepth, not UTF-8, or does not fit v, gives a *JSONError. Members of
// objects that v has no field for are ignored; see JSONStrict.
func (r *Request) JSON(v any) error { return r.json(v, false) }

// JSONStrict is JSON that refuses members that v has no field for.
func (r *Request) JSONStrict(v any) error { return r.json(v, true) }

func (r *Request) json(v any, strict bool) error {
	if !r.IsJSON() {
		return &BodyError{Kind: ErrWrongType, Problem: "the body must be JSON: application/json"}
	}
	data, err := r.Bytes()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &JSONError{Problem: "the body is empty"}
	}
	if at := invalidUTF8(data); at >= 0 {
		return newJSONError(data, int64(at), "", "the body is not UTF-8", nil)
	}
	depth := r.Limits.JSONDepth
	if depth <= 0 {
		depth = 200
	}
	if at := tooDeep(data, depth); at >= 0 {
		return newJSONError(data, int64(at), "", fmt.Sprintf("arrays and objects may be nested %d deep", depth), nil)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return jsonError(data, err)
	}
	if behind := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n"); len(behind) > 0 {
		return newJSONError(data, int64(len(data)-len(behind)), "", "something follows the value", nil)
	}
	return nil
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, -1 if there is none.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// tooDeep returns the offset at which a value is nested deeper than depth, -1 if it is nowhere.
func tooDeep(data []byte, depth int) int {
	level := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if level++; level > depth {
				return i
			}
		case ']', '}':
			level--
		}
	}
	return -1
}

// jsonError explains an error of encoding/json.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	var invalid *json.InvalidUnmarshalError
	switch {
	case errors.As(err, &syntax):
		return newJSONError(data, max(syntax.Offset-1, 0), "", strings.TrimPrefix(syntax.Error(), "json: "), err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return newJSONError(data, int64(len(data)), "", "the value ends too early", err)
	case errors.As(err, &mismatch):
		return newJSONError(data, max(mismatch.Offset-1, 0), mismatch.Field, "cannot be "+article(mismatch.Value), err)
	case errors.As(err, &invalid):
		return err // a mistake of the program
	}
	name, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	if unknown {
		return &JSONError{Field: strings.Trim(name, `"`), Problem: "is not known", Err: err}
	}
	return &JSONError{Problem: "a value is not valid", Err: err} // of an UnmarshalJSON or UnmarshalText
}

// article puts one in front of the name of a kind of JSON value.
func article(kind string) string {
	kind, _, _ = strings.Cut(kind, " ") // "number 1.5"
	if kind == "array" || kind == "object" {
		return "an " + kind
	}
	return "a " + kind
}

func newJSONError(data []byte, offset int64, field, problem string, err error) *JSONError {
	before := data[:min(offset, int64(len(data)))]
	line := bytes.Count(before, []byte("\n"))
	start := bytes.LastIndexByte(before, '\n') + 1
	return &JSONError{Offset: offset, Line: line + 1, Column: utf8.RuneCount(before[start:]) + 1, Field: field, Problem: problem, Err: err}
}
