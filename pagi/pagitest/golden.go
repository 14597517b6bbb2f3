package pagitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// UpdateVariable is the environment variable that makes Golden write its files instead of comparing
// with them, if it is not empty.
const UpdateVariable = "PAGITEST_UPDATE"

// Golden compares what a test got with a file in testdata, which a person has read once. The zero
// value is ready for use. After a wanted change write the files again, and read what git diff
// shows:
//
//	PAGITEST_UPDATE=1 go test ./...
type Golden struct {
	// Headers are the names of the headers to compare. Nil: all.
	Headers []string
	// Volatile are the names of the headers that must be there but may have any value. Nil: date,
	// etag, last-modified and x-request-id.
	Volatile []string
	// Replace changes the whole text before it is compared and written, where it has random or
	// temporary parts. Nil: not.
	Replace func(text string) string
}

// volatile are the default of Golden.Volatile.
var volatile = []string{"date", "etag", "last-modified", "x-request-id"}

// Response compares a response with testdata/NAME.golden: the interim responses, the status, the
// headers, the body and the trailers. A body of JSON is indented. A body that is no text is quoted.
// An Err of the response fails the test.
func (g Golden) Response(t testing.TB, name string, res *Response) {
	t.Helper()
	if res.Err != nil {
		t.Errorf("%s: %v", name, res.Err)
	}
	var b strings.Builder
	for _, interim := range res.Informational {
		fmt.Fprintf(&b, "%d\n%s\n", interim.Status, g.lines(interim.Headers))
	}
	fmt.Fprintf(&b, "%d\n%s\n%s\n", res.Status, g.lines(res.Headers), readable(res.Body))
	if len(res.Trailers) > 0 {
		fmt.Fprintf(&b, "\n%s", g.lines(res.Trailers))
	}
	g.Text(t, name, b.String())
}

// Events compares a list of events, that of Response.Events for example, with testdata/NAME.golden.
// Each is a line: its type, and its fields that are not empty.
func (g Golden) Events(t testing.TB, name string, events []pagi.Event) {
	t.Helper()
	var b strings.Builder
	for _, ev := range events {
		b.WriteString(ev.EventType())
		v := reflect.ValueOf(ev)
		for i := range v.NumField() {
			if field := v.Field(i); !field.IsZero() {
				fmt.Fprintf(&b, " %s=%s", strings.ToLower(v.Type().Field(i).Name), g.field(field.Interface()))
			}
		}
		b.WriteString("\n")
	}
	g.Text(t, name, b.String())
}

// Text compares text with testdata/NAME.golden.
func (g Golden) Text(t testing.TB, name, text string) {
	t.Helper()
	if g.Replace != nil {
		text = g.Replace(text)
	}
	file := filepath.Join("testdata", filepath.FromSlash(name)+".golden")
	if os.Getenv(UpdateVariable) != "" {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, []byte(text), 0o666)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	want, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Errorf("%s does not exist. With %s=1 in the environment the test writes it:\n%s", file, UpdateVariable, text)
	case err != nil:
		t.Errorf("%s: %v", name, err)
	default:
		// Git may have changed the ends of lines.
		if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), strings.ReplaceAll(text, "\r\n", "\n")); diff != "" {
			t.Errorf("%s (-) is not what came (+). %s=1 writes it again.\n%s", file, UpdateVariable, diff)
		}
	}
}

// lines returns the headers to compare, one a line.
func (g Golden) lines(headers pagi.Headers) string {
	var b strings.Builder
	for _, h := range g.chosen(headers) {
		fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
	}
	return b.String()
}

// chosen returns the headers to compare, with the value * for volatile ones.
func (g Golden) chosen(headers pagi.Headers) (list pagi.Headers) {
	vary := g.Volatile
	if vary == nil {
		vary = volatile
	}
	has := func(names []string, name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return pagi.EqualFold(n, name) })
	}
	for _, h := range headers {
		if g.Headers != nil && !has(g.Headers, h.Name) {
			continue
		}
		if has(vary, h.Name) {
			h.Value = "*"
		}
		list = append(list, h)
	}
	return list
}

// field returns a field of an event as text.
func (g Golden) field(v any) string {
	switch v := v.(type) {
	case []byte:
		return fmt.Sprintf("%q", v)
	case string:
		return fmt.Sprintf("%q", v)
	case pagi.Headers:
		var pairs []string
		for _, h := range g.chosen(v) {
			pairs = append(pairs, fmt.Sprintf("%s: %q", h.Name, h.Value))
		}
		return "[" + strings.Join(pairs, ", ") + "]"
	case bool, int, int64, fmt.Stringer:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%T", v) // an fh
}

// readable returns a body as text.
func readable(body []byte) string {
	var indented bytes.Buffer
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && strings.ContainsRune("{[", rune(trimmed[0])) && json.Indent(&indented, trimmed, "", "  ") == nil {
		return indented.String()
	}
	if utf8.Valid(body) && !bytes.ContainsRune(body, 0) {
		return string(body)
	}
	var b strings.Builder
	for piece := range slices.Chunk(body, 64) {
		fmt.Fprintf(&b, "%q\n", piece)
	}
	return b.String()
}

// Expect fails the test unless the response came without Err, has the status, and its body contains
// each of parts. It returns the response.
//
//	client.Get("/").Expect(t, 200, "Hello")
func (r *Response) Expect(t testing.TB, status int, parts ...string) *Response {
	t.Helper()
	var missing []string
	for _, part := range parts {
		if !bytes.Contains(r.Body, []byte(part)) {
			missing = append(missing, fmt.Sprintf("%q", part))
		}
	}
	if r.Err != nil || r.Status != status || missing != nil {
		problem := fmt.Sprintf("got status %d, want %d", r.Status, status)
		if missing != nil {
			problem += "; the body lacks " + strings.Join(missing, ", ")
		}
		t.Errorf("%s; error: %v\n%s\n%s", problem, r.Err, Golden{Volatile: []string{}}.lines(r.Headers), r.excerpt())
	}
	return r
}
