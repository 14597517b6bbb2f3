package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// eventCases are all events that cross the wire, by their names in testdata/events.json. That file has their payloads;
// perl/t/event.t reads it as well.
var eventCases = map[string]struct {
	to Direction
	ev pagi.Event
}{
	"http.request":                      {ToWorker, pagi.HTTPRequest{Body: []byte("body"), More: true}},
	"http.request, the last":            {ToWorker, pagi.HTTPRequest{Trailers: pagi.NewHeaders("x-sum", "1")}},
	"websocket.connect":                 {ToWorker, pagi.WebSocketConnect{}},
	"websocket.receive, text":           {ToWorker, pagi.WebSocketReceive{Text: "Grüße"}},
	"websocket.receive, bytes":          {ToWorker, pagi.WebSocketReceive{Bytes: []byte{0, 255}, Binary: true}},
	"sse.request":                       {ToWorker, pagi.SSERequest{Body: []byte("q"), More: true}},
	"lifespan.startup":                  {ToWorker, pagi.LifespanStartup{}},
	"lifespan.shutdown":                 {ToWorker, pagi.LifespanShutdown{}},
	"http.response.informational":       {ToGateway, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a>")}},
	"http.response.start":               {ToGateway, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("a", "1", "a", "2")}},
	"http.response.start, trailers":     {ToGateway, pagi.HTTPResponseStart{Status: 999, Trailers: true}},
	"http.response.body":                {ToGateway, pagi.HTTPResponseBody{Body: []byte("body"), More: true}},
	"http.response.body, the last":      {ToGateway, pagi.HTTPResponseBody{}},
	"http.response.body, a file":        {ToGateway, HTTPFile{FileRef{Offset: 5, Length: 7, Device: 1, Inode: 1 << 63, Path: "/srv/f"}}},
	"http.response.body, a file's rest": {ToGateway, HTTPFile{FileRef{Length: pagi.ToEnd}}},
	"http.response.trailers":            {ToGateway, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "4")}},
	"http.fullflush":                    {ToGateway, pagi.HTTPFullFlush{}},
	"websocket.accept":                  {ToGateway, pagi.WebSocketAccept{Subprotocol: "v1", Headers: pagi.NewHeaders("a", "b")}},
	"websocket.send, text":              {ToGateway, pagi.WebSocketSend{Text: "Grüße"}},
	"websocket.send, bytes":             {ToGateway, pagi.WebSocketSend{Bytes: []byte{0, 255}, Binary: true}},
	"websocket.keepalive":               {ToGateway, pagi.WebSocketKeepalive{Interval: 2500 * time.Millisecond, Timeout: time.Minute}},
	"websocket.close":                   {ToGateway, pagi.WebSocketClose{Code: 4001, Reason: "enough"}},
	"websocket.http.response.start":     {ToGateway, pagi.WebSocketHTTPResponseStart{Status: 401, Headers: pagi.NewHeaders("a", "b")}},
	"websocket.http.response.body":      {ToGateway, pagi.WebSocketHTTPResponseBody{Body: []byte("no"), More: true}},
	"sse.start":                         {ToGateway, pagi.SSEStart{Headers: pagi.NewHeaders("a", "b")}},
	"sse.send":                          {ToGateway, pagi.SSESend{Data: "a\nb"}},
	"sse.send, all":                     {ToGateway, pagi.SSESend{Data: "", Event: "e", ID: "7", Retry: 0, HasRetry: true}},
	"sse.comment":                       {ToGateway, pagi.SSEComment{Comment: "c"}},
	"sse.keepalive":                     {ToGateway, pagi.SSEKeepalive{Interval: 15 * time.Second, Comment: "k"}},
	"sse.close":                         {ToGateway, pagi.SSEClose{Reason: "enough"}},
	"sse.http.response.start":           {ToGateway, pagi.SSEHTTPResponseStart{Status: 404, Headers: pagi.NewHeaders("a", "b")}},
	"sse.http.response.body":            {ToGateway, pagi.SSEHTTPResponseBody{Body: []byte("no")}},
	"lifespan.startup.complete":         {ToGateway, pagi.LifespanStartupComplete{}},
	"lifespan.startup.failed":           {ToGateway, pagi.LifespanStartupFailed{Message: "no database"}},
	"lifespan.shutdown.complete":        {ToGateway, pagi.LifespanShutdownComplete{}},
	"lifespan.shutdown.failed":          {ToGateway, pagi.LifespanShutdownFailed{Message: "late"}},
}

var sameBytes = cmp.Transformer("bytes", func(b []byte) string { return string(b) })

func TestEvents(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	payloads := map[string]string{}
	if err := json.Unmarshal(b, &payloads); err != nil {
		t.Fatal(err)
	}
	if len(payloads) != len(eventCases) {
		t.Errorf("%d payloads for %d events", len(payloads), len(eventCases))
	}
	for name, c := range eventCases {
		payload, err := AppendEvent(nil, c.ev)
		if got := hex.EncodeToString(payload); got != payloads[name] || err != nil {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, payloads[name])
			continue
		}
		if !strings.HasPrefix(name, c.ev.EventType()) {
			t.Errorf("%s is the event %s", name, c.ev.EventType())
		}
		ev, err := DecodeEvent(c.to, payload)
		if diff := cmp.Diff(c.ev, ev, sameBytes); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		if _, err := DecodeEvent(1-c.to, payload); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s the other way: %v", name, err)
		}
		if _, err := DecodeEvent(c.to, payload[:min(len(payload)-1, 7)]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s, cut: %v", name, err)
		}
	}
}

// Every event of package pagi is in the table, but disconnects, which have a frame of their own.
func TestEveryEventHasACase(t *testing.T) {
	have := map[reflect.Type]bool{}
	for _, c := range eventCases {
		have[reflect.TypeOf(c.ev)] = true
	}
	for _, ev := range []pagi.Event{
		pagi.HTTPRequest{}, pagi.HTTPResponseInformational{}, pagi.HTTPResponseStart{}, pagi.HTTPResponseBody{}, pagi.HTTPResponseTrailers{},
		pagi.HTTPFullFlush{}, pagi.WebSocketConnect{}, pagi.WebSocketReceive{}, pagi.WebSocketAccept{}, pagi.WebSocketSend{}, pagi.WebSocketKeepalive{},
		pagi.WebSocketClose{}, pagi.WebSocketHTTPResponseStart{}, pagi.WebSocketHTTPResponseBody{}, pagi.SSERequest{}, pagi.SSEStart{}, pagi.SSESend{},
		pagi.SSEComment{}, pagi.SSEKeepalive{}, pagi.SSEClose{}, pagi.SSEHTTPResponseStart{}, pagi.SSEHTTPResponseBody{}, pagi.LifespanStartup{},
		pagi.LifespanShutdown{}, pagi.LifespanStartupComplete{}, pagi.LifespanStartupFailed{}, pagi.LifespanShutdownComplete{}, pagi.LifespanShutdownFailed{},
	} {
		if !have[reflect.TypeOf(ev)] {
			t.Errorf("%s has no case", ev.EventType())
		}
	}
	for _, ev := range []pagi.Event{pagi.HTTPDisconnect{}, pagi.SSEDisconnect{}, pagi.WebSocketDisconnect{}, pagi.HTTPResponseBody{File: "/f"}, pagi.HTTPResponseBody{FH: strings.NewReader("")}} {
		if _, err := AppendEvent(nil, ev); !errors.Is(err, ErrNotWired) {
			t.Errorf("%#v: %v", ev, err)
		}
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	pairs := func(kind byte, list ...string) []byte { return AppendPairs([]byte{kind, 0, 0, 0}, list...) }
	for name, payload := range map[string][]byte{
		"an unknown kind":       {0x7f, 0, 0, 0, 0, 0, 0, 0},
		"a time that is none":   pairs(kindSSEKeep, "interval", "soon"),
		"a time below zero":     pairs(kindWebSocketKeep, "interval", "-1"),
		"an endless time":       pairs(kindSSESend, "retry", "99999999999999"),
		"a negative length":     pairs(kindHTTPFile, "length", "-1"),
		"a relative path":       append(pairs(kindHTTPFile), "etc/passwd"...),
		"a huge offset":         pairs(kindHTTPFile, "offset", "18446744073709551615"),
		"pairs that do not fit": {kindHTTPStart, 0, 0, 200, 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := DecodeEvent(ToGateway, payload); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeEvent(ToGateway, pairs(kindHTTPStart, "a", strings.Repeat("x", MaxHead))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many headers: %v", err)
	}
}

var wholeScope = &pagi.Scope{
	Type: pagi.TypeHTTP, PAGI: pagi.Versions{Version: pagi.SpecVersion}, HTTPVersion: "2", Method: "GET", Scheme: "https", Path: "/é", RawPath: "/a/%C3%A9",
	Target: "/a/%C3%A9?", RootPath: "/a", Headers: pagi.NewHeaders("host", "example.org", "x", "1", "x", ""),
	Client: pagi.Addr{Host: "2001:db8::1", Port: 4711}, Server: pagi.Addr{Host: "/run/s"},
	Extensions: map[string]any{
		pagi.ExtFullFlush: struct{}{},
		pagi.ExtTLS: &pagi.TLS{
			ServerCert: "PEM", ClientCertChain: []string{"one", "two"}, ClientCertName: "CN=me", ClientCertError: "expired", Version: 0x304, CipherSuite: 0x1301,
		},
	},
}

func TestScopes(t *testing.T) {
	for _, s := range []*pagi.Scope{
		wholeScope,
		{Type: pagi.TypeWebSocket, Scheme: "ws", Path: "/", Subprotocols: []string{"v1", "v2"}, PAGI: pagi.Versions{Version: pagi.SpecVersion}},
		{Type: pagi.TypeSSE, Method: "GET", PAGI: pagi.Versions{Version: pagi.SpecVersion}},
		{Type: pagi.TypeLifespan, PAGI: pagi.Versions{Version: pagi.SpecVersion, IsWorker: true, WorkerNum: 3}},
	} {
		b, err := AppendScope(nil, 7, s)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ReadFrame(bytes.NewReader(b), nil)
		if err != nil || f.Type != Scope || f.Stream != 7 {
			t.Fatalf("%+v %v", f, err)
		}
		got, err := DecodeScope(bytes.Clone(f.Payload))
		if diff := cmp.Diff(s, got, cmp.AllowUnexported(pagi.Scope{})); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", s.Type, err, diff)
		}
		for n := range f.Payload {
			if _, err := DecodeScope(bytes.Clone(f.Payload[:n])); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s, cut after %d of %d bytes: %v", s.Type, n, len(f.Payload), err)
			}
		}
		if _, err := DecodeScope(append(bytes.Clone(f.Payload), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with one byte more: %v", s.Type, err)
		}
	}
	if _, err := AppendScope(nil, 1, &pagi.Scope{Type: "udp"}); err == nil {
		t.Error("a type that does not exist is encoded")
	}
	big := &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("a", strings.Repeat("x", MaxScope))}
	if b, err := AppendScope([]byte("before"), 1, big); !errors.Is(err, ErrTooLarge) || string(b) != "before" {
		t.Errorf("%q %v", b, err)
	}
}

func TestGreeting(t *testing.T) {
	offer := Offer{Features: FeatureScopes | FeaturePing, Streams: 5, Window: 20000, Message: 99, Role: RoleZygote, Runtime: "perl", RuntimeVersion: "5.36.0"}
	want := HelloPayload{Versions: Versions{2, 4}, PID: 42, Token: "T", Offer: offer}
	f, err := ReadFrame(bytes.NewReader(AppendHello(nil, want)), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeHello(f.Payload)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	terms, err := Agree(Offer{Features: FeatureScopes | FeaturePaths}, FeatureScopes, got)
	if err != nil || terms.Version != 3 || terms.Features != FeatureScopes || terms.Peer.Window != 20000 || terms.Own.Window != DefaultWindow {
		t.Errorf("%+v %v", terms, err)
	}
	f, err = ReadFrame(bytes.NewReader(AppendWelcome(nil, terms.Welcome(7))), nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := DecodeWelcome(f.Payload)
	if err != nil || w.PID != 7 {
		t.Fatalf("%+v %v", w, err)
	}
	other, err := Accept(offer, w)
	if err != nil || other.Features != terms.Features || other.Version != 3 || other.Peer.Window != DefaultWindow {
		t.Errorf("%+v %v", other, err)
	}
	for _, wrong := range []string{"streams", "window", "message"} {
		for _, value := range []string{"0", "-1", "x", "99999999999"} {
			p := AppendPairs([]byte{0, 3, 0, 0, 0, 1}, wrong, value)
			if _, err := DecodeWelcome(p); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s %s: %v", wrong, value, err)
			}
		}
	}
	if got := parseFeatures("fly  ping scopes"); got != FeaturePing|FeatureScopes || got.String() != "scopes ping" {
		t.Errorf("%s", got)
	}
}

// FuzzStreams feeds the decoders of scopes, events and greetings with any bytes. What one of them takes, it
// encodes to what it takes again for the same.
func FuzzStreams(f *testing.F) {
	for _, c := range eventCases {
		b, err := AppendEvent(nil, c.ev)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	scope, err := AppendScope(nil, 1, wholeScope)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(scope[HeaderSize:])
	f.Add(AppendHello(nil, HelloPayload{Versions: Supported, Token: "T", Offer: Offer{Window: 20000}})[HeaderSize:])
	f.Add(AppendCall(nil, 1, 0, "count", []byte("1"))[HeaderSize:])
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, direction := range []Direction{ToWorker, ToGateway} {
			ev, err := DecodeEvent(direction, bytes.Clone(p))
			if err != nil {
				continue
			}
			again, err := AppendEvent(nil, ev)
			if err != nil {
				t.Fatalf("%#v: %v", ev, err)
			}
			same, err := DecodeEvent(direction, again)
			if diff := cmp.Diff(ev, same, sameBytes); diff != "" || err != nil {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
		if s, err := DecodeScope(bytes.Clone(p)); err == nil {
			b, err := AppendScope(nil, 1, s)
			if err != nil {
				t.Fatal(err)
			}
			same, err := DecodeScope(b[HeaderSize:])
			if diff := cmp.Diff(s, same, cmp.AllowUnexported(pagi.Scope{})); diff != "" || err != nil {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
		_, _ = DecodeHello(bytes.Clone(p))
		_, _ = DecodeWelcome(bytes.Clone(p))
		_, _, _ = DecodeEnd(p)
		_, _, _ = DecodeDisconnect(p)
		_, _, _ = DecodeCall(p)
		_, _, _ = DecodeReply(p)
		_, _ = DecodeCredit(p)
	})
}
