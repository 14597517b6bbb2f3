package perlpagi_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func TestWebSocket(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "websocket.pl"})
	ws := m.WebSocket("/room", pagitest.Subprotocols("v2", "v1"))
	if !ws.Accepted || ws.Subprotocol != "v2" || ws.Headers.Get("x-path") != "/room" {
		t.Fatalf("%+v", ws.Response)
	}
	exchange := func(text, want string) {
		t.Helper()
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	exchange("hello", "echo hello of 5")
	exchange("é€", "echo é€ of 2") // text is characters
	if err := ws.SendBytes([]byte{0, 255}); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveBytes(); err != nil || !bytes.Equal(got, []byte{0, 255}) {
		t.Errorf("%v %v", got, err)
	}
	// Text that is encoded already, Latin-1, characters: each is encoded once.
	exchange("bytes of a text", "é")
	for _, want := range []string{"é", "€"} {
		if got, err := ws.ReceiveText(); err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	if got, err := ws.ReceiveBytes(); err != nil || string(got) != "\xe9" {
		t.Errorf("%v %v", got, err)
	}
	if got, err := ws.ReceiveText(); err != nil || !strings.Contains(got, "wide character in 'bytes'") {
		t.Errorf("%q %v", got, err)
	}
	exchange(strings.Repeat("x", 300_000), "echo "+strings.Repeat("x", 300_000)+" of 300000")
	if err := ws.SendText("close"); err != nil {
		t.Fatal(err)
	}
	ended(t, ws, 4001, "as you wish")
}

// ended reads the end of a WebSocket that the application closes.
func ended(t *testing.T, ws *pagitest.WebSocket, code int, reason string) {
	t.Helper()
	_, err := ws.Receive()
	end := closed(err)
	if end == nil || end.Code != code || end.Reason != reason {
		t.Errorf("%v, want %d %q", err, code, reason)
	}
	_ = ws.Finish() // the error of an application that died is not what is tested
}

func TestWebSocketEnds(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "websocket.pl"})
	r := m.WebSocket("/deny").Response
	if r.Status != 401 || r.Text() != "who are you" || r.Header("www-authenticate") != "Bearer" {
		t.Errorf("denial: %+v", r)
	}
	if r = m.WebSocket("/refuse").Response; r.Status != 403 {
		t.Errorf("%+v", r)
	}
	if r = m.WebSocket("/die").Response; r.Err == nil || !strings.Contains(r.Err.Error(), "dead before the handshake") {
		t.Errorf("%+v", r)
	}
	for text, code := range map[string]int{"die": 1011, "return": 1000} {
		ws := m.WebSocket("/")
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		ended(t, ws, code, "")
	}
	ws := m.WebSocket("/")
	if err := ws.Close(4002, "bye"); err != nil {
		t.Error(err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	ws = m.WebSocket("/left")
	if got, err := ws.ReceiveText(); err != nil || got != "4002 bye" {
		t.Errorf("the application was told %q, %v", got, err)
	}
	_ = ws.Finish()
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "sse.pl"})
	s := m.Events("/")
	var events []string
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		events = append(events, e.Event+" "+e.ID+" "+e.Data)
	}
	r := s.Finish()
	want := []string{"count 7 one\ntwo", "message 7 Ã© é", `message x {"n":1}`}
	if diff := cmp.Diff(want, events); diff != "" || r.Err != nil || r.Header("x-from") != "worker" {
		t.Errorf("%s\n%v %v", diff, r.Err, r.Headers)
	}
	r = m.Get("/decline", pagitest.AcceptEvents())
	if r.Status != 404 || r.Text() != "no such stream" || r.Header("x-why") != "gone" {
		t.Errorf("%+v", r)
	}
	s = m.Begin("POST", "/body", pagitest.AcceptEvents(), pagitest.Body("the body")).Events()
	if e, ok := s.Next(); !ok || e.Data != "POST the body" {
		t.Errorf("%+v", e)
	}
	if r := s.Finish(); r.Err != nil {
		t.Error(r.Err)
	}
}

func TestEventStreamEnds(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "sse.pl"})
	if r := m.Events("/close").Finish(); r.Err != nil {
		t.Error(r.Err)
	}
	told := func() string { return m.Get("/told", pagitest.AcceptEvents()).Text() }
	if got := told(); !strings.HasPrefix(got, "sse.send: the event stream is closed at ") {
		t.Errorf("%q", got)
	}
	s := m.Events("/wait")
	if e, ok := s.Next(); !ok || e.Data != "open" {
		t.Fatalf("%+v", e)
	}
	s.Disconnect(pagi.ReasonClientClosed)
	_ = s.Finish()
	if got := told(); got != "sse.disconnect client_closed" {
		t.Errorf("%q", got)
	}
	for target, want := range map[string]string{"/newline": "'event' must not contain a newline", "/die": "dead in a stream"} {
		if r := m.Get(target, pagitest.AcceptEvents()); r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %v", target, r.Err)
		}
	}
}
