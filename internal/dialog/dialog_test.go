package dialog

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct{ pattern, got, wrong string }{
		{`{"a": 1, "b": "*"}`, `{"b": [1], "a": 1}`, ""},
		{`{"a": 1}`, `{"a": 1, "b": 2}`, `value has "b"`},
		{`{"a": 1, "b": 2}`, `{"a": 1}`, `value has no "b"`},
		{`[1, "*"]`, `[1]`, "a list of 2"},
		{`[{"a": null}]`, `[{"a": null}]`, ""},
		{`[{"a": null}]`, `[{"a": 0}]`, "value[0].a is 0"},
		{`"x"`, `"y"`, "value is y, want x"},
		{`1`, `nonsense`, "not JSON"},
		{`{"a": 1}`, `[]`, "want an object"},
	} {
		err := Match([]byte(c.pattern), []byte(c.got))
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s and %s: %v, want %q", c.pattern, c.got, err, c.wrong)
		}
	}
}

func TestWrongFiles(t *testing.T) {
	for text, wrong := range map[string]string{
		`{"dialogs": [{"name": "a"}]}`:                                               "has 0 of request",
		`{"dialogs": [{"request": {"target": "/", "status": 200}}]}`:                 "has no name",
		`{"dialogs": [{"name": "a", "request": {"target": "/"}}]}`:                   "has no status",
		`{"dialogs": [{"name": "a", "events": {}}, {"name": "a", "websocket": {}}]}`: "two dialogs",
		`{"dialogs": [{"nome": "a"}]}`:                                               "nome",
	} {
		path := filepath.Join(t.TempDir(), "requests.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", text, err, wrong)
		}
	}
}

// answers is a server with one of everything.
func answers(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "x-end")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusAccepted)
		if _, err := w.Write([]byte(`{"method": "` + r.Method + `"}`)); err != nil {
			t.Error(err)
		}
		w.Header().Set("x-end", "1")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if _, err := w.Write([]byte(": hi\n\nevent: tick\nid: 7\ndata: a\ndata: b\n\n")); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil {
				return // the client has closed
			}
			if string(message) == "bye" {
				kind, message = websocket.CloseMessage, websocket.FormatCloseMessage(4000, "")
			}
			if err := conn.WriteMessage(kind, message); err != nil {
				t.Error(err)
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// complaints is a TB that keeps what fails.
type complaints struct {
	testing.TB
	all []string
}

func (*complaints) Helper() {}

func (c *complaints) Errorf(_ string, args ...any) {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			c.all = append(c.all, err.Error())
		}
	}
}

func TestDialogs(t *testing.T) {
	url := answers(t)
	text := func(s string) *string { return &s }
	page := Request{Method: "POST", Target: "/page", Status: 202, Type: "application/json", Trailers: map[string]string{"x-end": "1"}, JSON: []byte(`{"method": "POST"}`)}
	with := func(change func(r *Request)) Dialog {
		r := page
		change(&r)
		return Dialog{Name: "page", Request: &r}
	}
	socket := func(steps ...Step) Dialog {
		return Dialog{Name: "socket", WebSocket: &WebSocket{Target: "/echo", Steps: steps}}
	}
	stream := func(want Event) Dialog {
		return Dialog{Name: "stream", Events: &Events{Target: "/events", Want: []Event{want}, Ends: true}}
	}
	for _, c := range []struct {
		dialog Dialog
		wrong  string
	}{
		{with(func(*Request) {}), ""},
		{with(func(r *Request) { r.Status = 200 }), "status 202, want 200"},
		{with(func(r *Request) { r.Type = "text/html" }), `type "application/json", want "text/html"`},
		{with(func(r *Request) { r.Want = map[string]string{"x-a": "b"} }), `header x-a is "", want "b"`},
		{with(func(r *Request) { r.Trailers = map[string]string{"x-end": "2"} }), `trailer x-end is "1", want "2"`},
		{with(func(r *Request) { r.Text = text("no") }), `want "no"`},
		{with(func(r *Request) { r.Contains = []string{"no"} }), `does not contain "no"`},
		{with(func(r *Request) { r.Method = "" }), "value.method is GET, want POST"},
		{stream(Event{Event: "tick", ID: "7", Data: text("a\nb")}), ""},
		{stream(Event{Event: "tack"}), `event "tick", want "tack"`},
		{stream(Event{Event: "tick", ID: "8"}), `id "7", want "8"`},
		{stream(Event{Event: "tick", Data: text("c")}), `want "c"`},
		{Dialog{Name: "no stream", Events: &Events{Target: "/page"}}, "want an event stream"},
		{socket(Step{Send: text("a")}, Step{Text: text("a")}, Step{SendBytes: []byte("b")}, Step{Bytes: []byte("b")}), ""},
		{socket(Step{SendJSON: []byte(`{"a": 1}`)}, Step{JSON: []byte(`{"a": "*"}`)}, Step{Send: text("bye")}, Step{Closed: 4000}), ""},
		{socket(Step{Send: text("bye")}, Step{Closed: 4001}), "want the code 4001"},
		{socket(Step{Send: text("a")}, Step{Text: text("b")}), `text "a", want "b"`},
		{socket(Step{Send: text("a")}, Step{Bytes: []byte("a")}), "want the bytes"},
		{socket(Step{SendBytes: []byte("a")}, Step{Text: text("a")}), "want a text"},
	} {
		got := &complaints{TB: t}
		c.dialog.Hold(got, url)
		all := strings.Join(got.all, "\n")
		if (all == "") != (c.wrong == "") || !strings.Contains(all, c.wrong) {
			t.Errorf("%+v: %q, want %q", c.dialog, all, c.wrong)
		}
	}
}

func TestLoadOfNothing(t *testing.T) {
	if _, err := Load("testdata/none.json"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
