package dialog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a dialog may take.
const patience = 20 * time.Second

// Hold puts the dialog to the server at a URL such as "http://127.0.0.1:5000", and fails the test if an answer
// is another one.
func (d *Dialog) Hold(t testing.TB, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	switch {
	case d.Request != nil:
		err = d.Request.hold(ctx, url)
	case d.Events != nil:
		err = d.Events.hold(ctx, url)
	default:
		err = d.WebSocket.hold(ctx, url)
	}
	if err != nil {
		t.Errorf("%s: %v", d.Name, err)
	}
}

// client follows no redirects, keeps no connections and asks for no compression.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func do(ctx context.Context, method, url, body string, headers map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return client.Do(req)
}

func (r *Request) hold(ctx context.Context, url string) error {
	res, err := do(ctx, r.Method, url+r.Target, r.Body, r.Headers)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var wrong []error
	if res.StatusCode != r.Status {
		wrong = append(wrong, fmt.Errorf("status %d, want %d", res.StatusCode, r.Status))
	}
	if r.Type != "" {
		if got, _, _ := mime.ParseMediaType(res.Header.Get("content-type")); got != r.Type {
			wrong = append(wrong, fmt.Errorf("type %q, want %q", got, r.Type))
		}
	}
	wrong = append(wrong, missing("header", r.Want, res.Header), missing("trailer", r.Trailers, res.Trailer))
	if r.Text != nil && string(body) != *r.Text {
		wrong = append(wrong, fmt.Errorf("body %q, want %q", body, *r.Text))
	}
	for _, part := range r.Contains {
		if !strings.Contains(string(body), part) {
			wrong = append(wrong, fmt.Errorf("body %q does not contain %q", body, part))
		}
	}
	if r.JSON != nil {
		wrong = append(wrong, Match(r.JSON, body))
	}
	return errors.Join(wrong...)
}

// missing reports the fields of want that got has not.
func missing(kind string, want map[string]string, got http.Header) error {
	var wrong []error
	for name, value := range want {
		if all := strings.Join(got.Values(name), ", "); all != value {
			wrong = append(wrong, fmt.Errorf("%s %s is %q, want %q", kind, name, all, value))
		}
	}
	return errors.Join(wrong...)
}

func (e *Events) hold(ctx context.Context, url string) error {
	headers := map[string]string{"accept": "text/event-stream"}
	for name, value := range e.Headers {
		headers[name] = value
	}
	res, err := do(ctx, http.MethodGet, url+e.Target, "", headers)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("content-type"), "text/event-stream") {
		return fmt.Errorf("status %d and type %q, want an event stream", res.StatusCode, res.Header.Get("content-type"))
	}
	lines := bufio.NewReader(res.Body)
	for i, want := range e.Want {
		if err := want.next(lines); err != nil {
			return fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	if e.Ends {
		if rest, err := io.ReadAll(lines); err != nil || len(bytes.TrimSpace(rest)) > 0 {
			return fmt.Errorf("after the last event: %q, %w", rest, err)
		}
	}
	return nil
}

// next reads the next event and compares it.
func (e *Event) next(lines *bufio.Reader) error {
	var name, id string
	var data []string
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && data != nil:
			return e.compare(name, id, strings.Join(data, "\n"))
		case field == "event":
			name = value
		case field == "id":
			id = value
		case field == "data":
			data = append(data, value)
		}
	}
}

func (e *Event) compare(name, id, data string) error {
	switch {
	case name != e.Event:
		return fmt.Errorf("event %q, want %q", name, e.Event)
	case e.ID != "" && id != e.ID:
		return fmt.Errorf("id %q, want %q", id, e.ID)
	case e.Data != nil && data != *e.Data:
		return fmt.Errorf("data %q, want %q", data, *e.Data)
	case e.JSON != nil:
		return Match(e.JSON, []byte(data))
	}
	return nil
}

func (w *WebSocket) hold(ctx context.Context, url string) error {
	conn, res, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(url, "http")+w.Target, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	res.Body.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := errors.Join(conn.SetReadDeadline(deadline), conn.SetWriteDeadline(deadline)); err != nil {
			return err
		}
	}
	for i, step := range w.Steps {
		if err := step.take(conn); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		if step.Closed != 0 {
			return nil
		}
	}
	if err := conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")); err != nil {
		return err
	}
	for {
		_, _, err := conn.ReadMessage()
		var end *websocket.CloseError
		switch {
		case errors.As(err, &end) && end.Code == websocket.CloseNormalClosure:
			return nil
		case err != nil:
			return fmt.Errorf("the end: %w", err)
		}
	}
}

func (s *Step) take(conn *websocket.Conn) error {
	switch {
	case s.Send != nil:
		return conn.WriteMessage(websocket.TextMessage, []byte(*s.Send))
	case s.SendBytes != nil:
		return conn.WriteMessage(websocket.BinaryMessage, s.SendBytes)
	case s.SendJSON != nil:
		return conn.WriteMessage(websocket.TextMessage, s.SendJSON)
	}
	kind, got, err := conn.ReadMessage()
	if s.Closed != 0 {
		if !websocket.IsCloseError(err, s.Closed) {
			return fmt.Errorf("got %q and %w, want the code %d", got, err, s.Closed)
		}
		return nil
	}
	switch {
	case err != nil:
		return err
	case s.Bytes != nil:
		if kind != websocket.BinaryMessage || !bytes.Equal(got, s.Bytes) {
			return fmt.Errorf("message %q of kind %d, want the bytes %q", got, kind, s.Bytes)
		}
		return nil
	case kind != websocket.TextMessage:
		return fmt.Errorf("message %q of kind %d, want a text", got, kind)
	case s.JSON != nil:
		return Match(s.JSON, got)
	case s.Text != nil && string(got) != *s.Text:
		return fmt.Errorf("text %q, want %q", got, *s.Text)
	}
	return nil
}
