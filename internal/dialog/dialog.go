// Package dialog has requests and the answers expected to them as data, in a file of JSON. The same file
// can be put to several servers: to an example in Go, and to the program in Perl that it corresponds to.
//
//	file, err := dialog.Load("examples/01-hello-http/requests.json")
//	for _, d := range file.Dialogs {
//		t.Run(d.Name, func(t *testing.T) { d.Hold(t, "http://127.0.0.1:5000") })
//	}
//
// A dialog is one HTTP request, one event stream or one WebSocket. Files: dialog.go the form of the file,
// hold.go puts a dialog to a server, match.go compares JSON.
package dialog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// File is a file of dialogs.
type File struct {
	// Upstream is where the program in Perl is, as "REPOSITORY REVISION PATH".
	Upstream string `json:"upstream"`
	// Dialogs are in the order in which a server that was just started is to be asked.
	Dialogs []Dialog `json:"dialogs"`
}

// Dialog is what a client sends and what it must get. Exactly one of Request, Events and WebSocket is set.
type Dialog struct {
	// Name says what the dialog shows.
	Name string `json:"name"`
	// Differs says how the answer of the program in Perl differs, and why. A comparison with that program
	// leaves the dialog out. "" means that the answers are alike.
	Differs string `json:"differs,omitempty"`

	Request   *Request   `json:"request,omitempty"`
	Events    *Events    `json:"events,omitempty"`
	WebSocket *WebSocket `json:"websocket,omitempty"`
}

// Request is an HTTP request with the response to it.
type Request struct {
	// Method is GET if it is "".
	Method string `json:"method,omitempty"`
	// Target is the path, with a query if there is one, percent-encoded.
	Target  string            `json:"target"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`

	// Status is the status of the response.
	Status int `json:"status"`
	// Type is the media type of the response, without parameters; "" means that it does not matter.
	Type string `json:"type,omitempty"`
	// Want are headers of the response, and Trailers fields after its body.
	Want     map[string]string `json:"want,omitempty"`
	Trailers map[string]string `json:"trailers,omitempty"`
	// Text is the whole body. JSON is the body as a pattern: see Match. Contains are parts of the body. What
	// is left out does not matter.
	Text     *string         `json:"text,omitempty"`
	JSON     json.RawMessage `json:"json,omitempty"`
	Contains []string        `json:"contains,omitempty"`
}

// Events is an event stream. The client leaves after the last event of Want.
type Events struct {
	Target  string            `json:"target"`
	Headers map[string]string `json:"headers,omitempty"`
	Want    []Event           `json:"want"`
	// Ends says that the server ends the stream after the last event.
	Ends bool `json:"ends,omitempty"`
}

// Event is an event of a stream.
type Event struct {
	// Event is the event's type; "" is one that the stream does not name.
	Event string `json:"event,omitempty"`
	ID    string `json:"id,omitempty"`
	// Data is the event's data, or JSON a pattern for it.
	Data *string         `json:"data,omitempty"`
	JSON json.RawMessage `json:"json,omitempty"`
}

// WebSocket is a connection. The client closes it with 1000 after the last step, unless the last step waits for
// the server to do so.
type WebSocket struct {
	Target string `json:"target"`
	Steps  []Step `json:"steps"`
}

// Step is one message, or the end. Exactly one field is set.
type Step struct {
	// Send is a text message of the client, SendBytes a binary one (base64 in the file), SendJSON one in JSON.
	Send      *string         `json:"send,omitempty"`
	SendBytes []byte          `json:"send_bytes,omitempty"`
	SendJSON  json.RawMessage `json:"send_json,omitempty"`
	// Text, Bytes and JSON are the next message of the server; JSON is a pattern.
	Text  *string         `json:"text,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"`
	JSON  json.RawMessage `json:"json,omitempty"`
	// Closed is the code with which the server closes the connection.
	Closed int `json:"closed,omitempty"`
}

// Load reads a file. Unknown keys and dialogs without a name or with more than one kind are errors.
func Load(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file := &File{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	names := map[string]bool{}
	for _, d := range file.Dialogs {
		if err := d.check(); err != nil {
			return nil, fmt.Errorf("%s: dialog %q: %w", path, d.Name, err)
		}
		if names[d.Name] {
			return nil, fmt.Errorf("%s: two dialogs have the name %q", path, d.Name)
		}
		names[d.Name] = true
	}
	return file, nil
}

func (d *Dialog) check() error {
	kinds := 0
	for _, is := range []bool{d.Request != nil, d.Events != nil, d.WebSocket != nil} {
		if is {
			kinds++
		}
	}
	switch {
	case d.Name == "":
		return errors.New("has no name")
	case kinds != 1:
		return fmt.Errorf("has %d of request, events and websocket; it must have one", kinds)
	case d.Request != nil && d.Request.Status == 0:
		return errors.New("the request has no status")
	}
	return nil
}
