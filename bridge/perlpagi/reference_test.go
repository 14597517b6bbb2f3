package perlpagi_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/internal/testkit/upstream"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// probe is what an example of the reference is asked, and what it must answer.
type probe struct {
	http      string // a target; "" for none
	status    int    // 200 if 0
	contains  string
	sse, ws   string // targets of an event stream and of a WebSocket
	say, hear string // to a WebSocket, and what it answers
	needs     string // a Perl module
}

// probes are by the names of the examples' directories. An example without a probe must start, and serve GET /.
var probes = map[string]probe{
	"01-hello-http":              {http: "/", contains: "Hello"},
	"02-streaming-response":      {http: "/", contains: "Chunk 1"},
	"03-request-body":            {http: "/", contains: ""},
	"04-websocket-echo":          {ws: "/", say: "hello", hear: "hello"},
	"05-sse-broadcaster":         {sse: "/"},
	"06-lifespan-state":          {http: "/", contains: ""},
	"07-extension-fullflush":     {http: "/", contains: ""},
	"12-utf8":                    {http: "/", contains: ""},
	"13-flow-control":            {sse: "/"},
	"18-bidirectional-websocket": {ws: "/", say: "hello"},
	"websocket-bidirectional":    {ws: "/", say: "hello"},
	"websocket-echo-v2":          {ws: "/", say: `hello`},
	"14-periodic-events":         {needs: "Future::Selector", sse: "/"},
	"17-event-middleware":        {needs: "Future::Selector", sse: "/"},
}

// The examples of the reference run unchanged: those of PAGI 0.001006 in PAGI_REFERENCE, and the newest ones below
// PAGI_NEWEST, a directory with the checkouts pagi, PAGI-Server and PAGI-Tools.
func TestExamplesOfTheReference(t *testing.T) {
	for _, r := range upstream.Releases(t) {
		t.Run(r.Name, func(t *testing.T) { examples(t, r) })
	}
}

func examples(t *testing.T, r *upstream.Release) {
	needs(t, "IO::Async::Loop", "Future::AsyncAwait", "Hash::MultiValue", "Cookie::Baker", "HTTP::MultiPartParser", "JSON::MaybeXS", "Future::IO")
	seen := map[string]bool{}
	for _, root := range r.Roots() {
		files, err := filepath.Glob(filepath.Join(root, "examples", "*", "app.pl"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no examples, %v", root, err)
		}
		for _, file := range files {
			name := filepath.Base(filepath.Dir(file))
			if seen[name] {
				continue
			}
			seen[name] = true
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if module := probes[name].needs; module != "" {
					needs(t, module)
				}
				m := mount(t, perlpagi.PAGI{App: file, Lib: r.Lib(file), Dir: filepath.Dir(file)})
				m.probe(t, probes[name])
			})
		}
	}
}

func (m *mounted) probe(t *testing.T, p probe) {
	t.Helper()
	if p == (probe{}) {
		r := m.Get("/")
		var failed *pagi.StatusError
		if errors.As(r.Err, &failed) && strings.Contains(r.Err.Error(), "Unsupported scope type") {
			return // it has no page
		}
		if r.Err != nil || r.Status >= 500 {
			t.Errorf("%d %v", r.Status, r.Err)
		}
		return
	}
	if p.http != "" {
		want := p.status
		if want == 0 {
			want = 200
		}
		if r := m.Get(p.http); r.Err != nil || r.Status != want || !strings.Contains(r.Text(), p.contains) {
			t.Errorf("%d %q %v", r.Status, r.Text(), r.Err)
		}
	}
	if p.sse != "" {
		s := m.Events(p.sse)
		if e, ok := s.Next(); !ok || e.Data == "" {
			t.Errorf("%+v", e)
		}
		s.Disconnect(pagi.ReasonClientClosed)
		_ = s.Finish()
	}
	if p.ws != "" {
		ws := m.WebSocket(p.ws, pagitest.Subprotocols("chat"))
		if !ws.Accepted {
			t.Fatalf("%+v", ws.Response)
		}
		if err := ws.SendText(p.say); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); err != nil || !strings.Contains(got, p.hear) {
			t.Errorf("%q %v", got, err)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}
