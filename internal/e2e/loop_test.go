package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// mojoApp is a chat: each message goes to all.
const mojoApp = `
use Mojolicious::Lite;
my %clients;
get '/' => sub { my $c = shift->render_later; Mojo::IOLoop->timer(0.01 => sub { $c->render(text => 'later') }) };
websocket '/chat' => sub {
    my $c = shift;
    my $id = "$c";
    $clients{$id} = $c->tx;
    $c->on(message => sub { my ($self, $text) = @_; $_->send("all: $text") for values %clients });
    $c->on(finish => sub { delete $clients{$id} });
};
app->start;
`

// Mojolicious with WebSockets by one flag: two clients of HTTP/1.1, with compression, and one of HTTP/2.
func TestMojoliciousChat(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	needPerl(t, "Mojolicious", "libmojolicious-perl")
	needPerl(t, "IO::Async::Loop::Mojo", "libio-async-loop-mojo-perl")
	app := filepath.Join(t.TempDir(), "app.pl")
	write(t, app, mojoApp)
	pair := testkit.Certificate(t)
	g := serve(t, "--loop", "-w", "1", "--ssl-cert", pair.CertFile, "--ssl-key", pair.KeyFile, app)
	config := &tls.Config{RootCAs: pair.Pool}
	url := "https://" + g.Address()
	dialer := &websocket.Dialer{TLSClientConfig: config, EnableCompression: true}
	var clients []*websocket.Conn
	for range 2 {
		ws, _, err := dialer.Dial("wss://"+g.Address()+"/chat", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.Close() }() // the gateway ends
		clients = append(clients, ws)
	}
	transport := testkit.HTTP2(t, config)
	body, says := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "CONNECT", url+"/chat", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(":protocol", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // only read from
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if _, err := io.WriteString(says, "\x81\x82\x00\x00\x00\x00hi"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "\x81\x07all: hi" {
		t.Errorf("%q, %v", got, err)
	}
	for _, ws := range clients {
		if _, got, err := ws.ReadMessage(); err != nil || string(got) != "all: hi" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := clients[0].WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", 100_000))); err != nil {
		t.Fatal(err)
	}
	if _, got, err := clients[1].ReadMessage(); err != nil || len(got) != 100_005 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, text := testkit.Get(t, &http.Client{Transport: transport}, url+"/"); text != "later" {
		t.Errorf("%q", text)
	}
	if err := says.Close(); err != nil {
		t.Error(err)
	}
}

// psgix.io over HTTP/2, by a site file.
func TestPSGIWebSocketOverHTTP2(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	needPerl(t, "IO::Async::Loop", "libio-async-perl")
	app, err := filepath.Abs(filepath.Join(root, "bridge/psgi/testdata/loop.psgi"))
	if err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(t.TempDir(), "site.yaml")
	write(t, site, "h2c: true\nlisten: [127.0.0.1:0]\nmounts:\n  - path: /\n    psgi: {app: "+app+", loop: true}\n    workers: 1\n")
	g := &gateway{testkit.Start(t, testkit.Command("", program, "-c", site)), t}
	transport := testkit.HTTP2(t, nil)
	body, says := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "CONNECT", g.URL+"/environ?a=b", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(":protocol", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // only read from
	got, err := io.ReadAll(io.LimitReader(res.Body, 82))
	want := "GET,HTTP/1.1,http,websocket,Upgrade,13,undef," + g.Address() + ",/environ,a=b"
	if err != nil || len(got) < 2 || !strings.HasPrefix(string(got[2:]), want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := says.Close(); err != nil {
		t.Error(err)
	}
}
