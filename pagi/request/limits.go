package request

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Limits are what a Request reads of a body. They hold whatever Content-Length says. 0 stands for the
// default; a number below 0 for no limit, except of JSONDepth, PartHeader and Memory.
type Limits struct {
	// Body is how many bytes Bytes, Text, JSON and a URL-encoded Form may have; 1 MiB by default.
	Body int64
	// JSONDepth is how deep arrays and objects may be nested; 200 by default.
	JSONDepth int
	// Fields is how many fields a form may have; 1000 by default.
	Fields int
	// Field is how many bytes the value of a multipart field may have; 1 MiB by default.
	Field int64
	// Files is how many files a multipart form may have; by default 20, and 1000 in a
	// MultipartStream.
	Files int
	// File is how many bytes a file may have; by default 10 MiB, and 100 MiB in a MultipartStream.
	File int64
	// Total is how many bytes a multipart body or a BodyStream may have in all; 1 GiB by default.
	Total int64
	// PartHeader is how many bytes the headers of a part may have; 16 KiB by default, at most 32 KiB.
	PartHeader int
	// Memory is how many bytes of an uploaded file stay in memory. A larger one goes to a temporary
	// file. 64 KiB by default.
	Memory int
	// Dir is the directory of temporary files; "" means os.TempDir.
	Dir string
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// or returns the limit n, with 0 for none, where otherwise is the default.
func or[T int | int64](n, otherwise T) T { return max(cmp.Or(n, otherwise), 0) }

var (
	// ErrTooLarge is in the error of a body that is larger, or has more parts, than Limits allow.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed is in the error of a body that is not what its type says.
	ErrMalformed = errors.New("malformed")
	// ErrWrongType is in the error of a body of another type than the one asked for.
	ErrWrongType = errors.New("wrong type")
	// ErrStreamed is the error of asking for a whole body of which a stream has been opened, or for a
	// second stream.
	ErrStreamed = errors.New("the request body is read as a stream, and cannot be had again")
	// ErrBuffered is the error of opening a stream of a body that was read whole.
	ErrBuffered = errors.New("the request body was read whole, and cannot be had as a stream")
)

// BodyError is what is wrong with a request body. errors.Is tells its kind: ErrTooLarge,
// ErrMalformed or ErrWrongType. errors.As finds in it a *pagi.StatusError of 413, 400 or 415, so an
// application can return it as it is.
type BodyError struct {
	// Kind is ErrTooLarge, ErrMalformed or ErrWrongType.
	Kind error
	// Problem says what is wrong. It may be shown to the client.
	Problem string
	// Err is the cause, if there is one.
	Err error
}

func (e *BodyError) Error() string {
	if e.Err != nil {
		return "request body: " + e.Problem + ": " + e.Err.Error()
	}
	return "request body: " + e.Problem
}

// Unwrap returns the kind, the cause, and the error with a status.
func (e *BodyError) Unwrap() []error {
	status := http.StatusBadRequest
	switch e.Kind {
	case ErrTooLarge:
		status = http.StatusRequestEntityTooLarge
	case ErrWrongType:
		status = http.StatusUnsupportedMediaType
	}
	all := []error{e.Kind, &pagi.StatusError{Status: status, Message: e.Problem}}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}

// tooLarge returns the error of what has more than limit of unit.
func tooLarge[T int | int64](what string, limit T, unit string) *BodyError {
	return &BodyError{Kind: ErrTooLarge, Problem: fmt.Sprintf("%s may have at most %d %s", what, limit, unit)}
}

func malformed(problem string, err error) *BodyError {
	return &BodyError{Kind: ErrMalformed, Problem: problem, Err: err}
}
