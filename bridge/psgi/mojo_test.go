package psgi

import (
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// mojoLoop starts the application of Mojolicious in testdata.
func mojoLoop(t *testing.T, start func(*testing.T, PSGI) *looped) *looped {
	t.Helper()
	needModules(t, []string{"Mojolicious", "IO::Async::Loop::Mojo"})
	return start(t, PSGI{App: "testdata/mojo.pl"})
}

func inMemory(t *testing.T, o PSGI) *looped { return loopInMemory(t, o, nil) }

// Mojolicious answers later, in pieces, and with its own user agent, which does not block.
func TestMojoliciousInALoop(t *testing.T) {
	t.Parallel()
	m := mojoLoop(t, loop)
	other := loop(t, PSGI{})
	address := other.Get("/environ").Text()
	_, address, _ = strings.Cut(address, "HTTP_HOST=")
	address, _, _ = strings.Cut(address, "\n")
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/":        {200, "hello"},
		"/loop":    {200, "IO::Async::Loop::Mojo"},
		"/later":   {200, "later"},
		"/promise": {200, `{"kept":1}`},
		"/chunks":  {200, "chunk 1\nchunk 2\nchunk 3\n"},
		"/pour":    {200, strings.Repeat("c", 5_000_000)},
		"/events":  {200, "data: 0\n\ndata: 1\n\ndata: 2\n\n"},
	} {
		t.Run(target, func(t *testing.T) { is(t, m.Get(target), want.status, want.body) })
	}
	if r := m.Head("/"); r.Err != nil || r.Status != 200 || len(r.Body) != 0 || r.Header("content-length") != "5" {
		t.Errorf("%+v", r)
	}
	if r := m.Get("/no-such-page"); r.Status != 404 || r.Err != nil {
		t.Errorf("%d %v", r.Status, r.Err)
	}
	if r := m.Get("/die"); r.Status != 500 || r.Err != nil {
		t.Errorf("%d %v", r.Status, r.Err)
	}
	m.log.WaitFor(t, "dead in Mojolicious")
	if address != "testserver" {
		is(t, m.Get("/agent", pagitest.Query("url", "http://"+address+"/later")), 200, "got later")
	}
	told := strings.Split(m.Get("/told").Text(), ",")
	slices.Sort(told)
	if got := strings.Join(told, ","); got != "events finished,poured 500,server Mojo::Server::PSGI" {
		t.Errorf("%q", got)
	}
	idle(t, m)
}

func TestMojoliciousBodies(t *testing.T) {
	t.Parallel()
	m := mojoLoop(t, loop)
	for _, size := range []int{0, 5, 3_000_000} {
		body := strings.Repeat("b", size)
		is(t, m.Post("/body", pagitest.Body(body)), 200, body)
		is(t, m.Post("/body", pagitest.Chunks(body[:size/2], body[size/2:])), 200, body)
	}
	file := strings.Repeat("f", 400_000)
	r := m.Post("/upload", pagitest.Multipart(pagitest.Part{Name: "word", Content: "said"}, pagitest.Part{Name: "file", Filename: "a.txt", Content: file}))
	is(t, r, 200, "a.txt 400000 said")
}

// Mojolicious learns what the client is, and the mount.
func TestMojoliciousURL(t *testing.T) {
	t.Parallel()
	m := mojoLoop(t, inMemory)
	m.Scheme, m.Host, m.RootPath = "https", "example.test", "/app"
	r := m.Get("/url", pagitest.Query("a", "b"), pagitest.Edit(func(s *pagi.Scope) { s.Client = pagi.Addr{Host: "192.0.2.7", Port: 1} }))
	is(t, r, 200, "https://example.test/app/url?a=b 192.0.2.7 /app/x")
}

func TestMojoliciousWebSocket(t *testing.T) {
	t.Parallel()
	m := mojoLoop(t, loop)
	_ = m.Get("/told")
	ws := m.WebSocket("/ws", pagitest.Subprotocols("other", "chat"))
	if !ws.Accepted || ws.Subprotocol != "chat" || ws.Headers.Get("x-from") != "mojo" {
		t.Fatalf("%+v", ws)
	}
	for _, text := range []string{"hello", "é", strings.Repeat("x", 200_000)} {
		if err := ws.SendText(text); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); err != nil || got != "echo "+text {
			t.Errorf("%.60q, %v", got, err)
		}
	}
	if err := ws.SendBytes([]byte{0, 255}); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveBytes(); err != nil || !slices.Equal(got, []byte{0, 255}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := ws.Close(4002, "bye"); err != nil {
		t.Error(err)
	}
	_ = ws.Finish()
	m.told(t, "finished 4002 bye")

	ws = m.WebSocket("/ws")
	if err := ws.SendText("close"); err != nil {
		t.Fatal(err)
	}
	closed(t, ws, 4001)
	m.told(t, "finished 4001 because")

	ws = m.WebSocket("/ws")
	ws.Disconnect(pagi.ReasonClientClosed)
	_ = ws.Finish()
	m.told(t, "finished 1006 ")

	ws = m.WebSocket("/json")
	if err := ws.SendJSON(map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); err != nil || got != `{"got":{"n":1}}` {
		t.Errorf("%q, %v", got, err)
	}
	_ = ws.Finish()

	ws = m.WebSocket("/drain")
	for _, want := range []string{"message 1", "message 2", "message 3"} {
		if got, err := ws.ReceiveText(); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	closed(t, ws, 1000)

	for path, want := range map[string]int{"/deny": 403, "/no-such-page": 404} {
		ws := m.WebSocket(path)
		if ws.Accepted || ws.Response.Status != want {
			t.Errorf("%s: %+v", path, ws.Response)
		}
		if path == "/deny" && ws.Response.Text() != "no entry" {
			t.Errorf("%q", ws.Response.Text())
		}
	}
	idle(t, m)
}

// A client that leaves ends the transaction, and one that does not read stops it.
func TestMojoliciousClients(t *testing.T) {
	t.Parallel()
	m := mojoLoop(t, inMemory)
	_ = m.Get("/told")
	for target, want := range map[string]string{"/forever": "forever finished", "/never": "never finished"} {
		x := m.Begin("GET", target)
		testkit.Eventually(t, "the application has the request", func() bool { return m.Get("/running").Text() == target })
		x.Disconnect(pagi.ReasonClientClosed)
		_ = x.Finish() // that the client has left
		m.told(t, want)
	}
	x := m.Begin("GET", "/pour", pagitest.SlowReader(65536, 16384))
	for range 20 {
		is(t, m.Get("/later"), 200, "later")
	}
	if got := m.Get("/told").Text(); got != "" {
		t.Errorf("%q: the application has sent all to a client that does not read", got)
	}
	n := 0
	for ev, ok := x.Next(); ok; ev, ok = x.Next() {
		if body, is := ev.(pagi.HTTPResponseBody); is {
			n += len(body.Body)
		}
	}
	if r := x.Finish(); r.Err != nil || n != 5_000_000 {
		t.Errorf("%d bytes, %v", n, r.Err)
	}
	m.told(t, "poured 500")
}

// The other forms of an application of Mojolicious, and one behind middleware of Plack, which is served as PSGI.
func TestMojoliciousForms(t *testing.T) {
	t.Parallel()
	needModules(t, []string{"Mojolicious", "IO::Async::Loop::Mojo"})
	const routes = `websocket '/ws' => sub { my $c = shift; $c->on(message => sub { $_[0]->send("echo $_[1]") }) }; get '/' => sub { my $c = shift->render_later; Mojo::IOLoop->timer(0.01 => sub { $c->render(text => 'later') }) };`
	const full = `package MyApp; use Mojo::Base 'Mojolicious'; sub startup { my $r = shift->routes; $r->websocket('/ws')->to(cb => sub { my $c = shift; $c->on(message => sub { $_[0]->send("echo $_[1]") }) }); $r->get('/')->to(cb => sub { my $c = shift->render_later; Mojo::IOLoop->timer(0.01 => sub { $c->render(text => 'later') }) }) } $INC{'MyApp.pm'} = 1; package main;`
	for name, perl := range map[string]string{
		"a lite application":     `use Mojolicious::Lite; ` + routes + ` app->start`,
		"its object":             `use Mojolicious::Lite; ` + routes + ` app`,
		"start_app":              full + ` require Mojolicious::Commands; Mojolicious::Commands->start_app('MyApp')`,
		"new":                    full + ` MyApp->new`,
		"Mojo::Server::PSGI":     full + ` require Mojo::Server::PSGI; my $server = Mojo::Server::PSGI->new; $server->app(MyApp->new); $server->to_psgi_app`,
		"with AnyEvent, as well": `use AnyEvent; use Mojolicious::Lite; websocket '/ws' => sub { my $c = shift; $c->on(message => sub { my ($self, $text) = @_; my $t; $t = AE::timer 0.01, 0, sub { undef $t; $self->send("echo $text") } }) }; get '/' => sub { my $c = shift->render_later; my $t; $t = AE::timer 0.01, 0, sub { undef $t; $c->render(text => 'later') } }; app->start`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(perl, "AnyEvent") {
				needModules(t, []string{"AnyEvent"})
			}
			m := loop(t, PSGI{Code: perl, Processes: worker.Processes{Workers: 1, Preload: name == "its object"}})
			is(t, m.Get("/"), 200, "later")
			ws := m.WebSocket("/ws")
			if err := ws.SendText("hello"); err != nil {
				t.Fatal(err, ws.Response)
			}
			if got, err := ws.ReceiveText(); err != nil || got != "echo hello" {
				t.Errorf("%q, %v", got, err)
			}
			_ = ws.Finish()
		})
	}
	t.Run("behind Plack", func(t *testing.T) {
		t.Parallel()
		needModules(t, []string{"Plack"})
		m := loop(t, PSGI{Code: `use Plack::Builder; use Mojolicious::Lite; get '/' => sub { $_[0]->render(text => 'at once') }; builder { enable 'ContentLength'; app->start }`})
		is(t, m.Get("/"), 200, "at once")
	})
}
