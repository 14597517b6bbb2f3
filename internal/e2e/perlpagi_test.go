package e2e

import (
	"bufio"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const pagiApp = `
use Future::AsyncAwait;
my %text = (name => 'NAME');
async sub app {
    my ($scope, $receive, $send) = @_;
    if ($scope->{type} eq 'websocket') {
        await $receive->();
        await $send->({ type => 'websocket.accept' });
        while (1) {
            my $event = await $receive->();
            return if $event->{type} ne 'websocket.receive';
            await $send->({ type => 'websocket.send', text => "$text{name}: $event->{text}" });
        }
    }
    if ($scope->{type} eq 'sse') {
        await $send->({ type => 'sse.start' });
        await $send->({ type => 'sse.send', data => $text{name} });
        my $event;
        do { $event = await $receive->() } while $event->{type} eq 'sse.request';
        return;
    }
    die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http';
    await $send->({ type => 'http.response.start', status => 200 });
    await $send->({ type => 'http.response.body', body => $text{name} });
}
\&app;
`

// A PAGI application in Perl by one argument: requests, a WebSocket, an event stream, and a reload at HUP during which
// the streams go on.
func TestPerlPAGI(t *testing.T) {
	perl := testkit.Tool(t, "perl", "perl")
	for _, module := range []string{"IO::Async::Loop", "Future::AsyncAwait"} {
		if exec.Command(perl, "-M"+module, "-e", "1").Run() != nil {
			t.Skipf("perl has no module %s", module)
		}
	}
	app := filepath.Join(t.TempDir(), "app.pl")
	write(t, app, strings.ReplaceAll(pagiApp, "NAME", "one"))
	g := serve(t, "-w", "2", app)
	if _, body := g.get("/"); body != "one" {
		t.Errorf("%q", body)
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.Close() }() // the gateway ends
	say := func(text, want string) {
		t.Helper()
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.ReadMessage(); err != nil || string(got) != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	say("é", "one: é")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }() // only read from
	if line, err := bufio.NewReader(stream.Body).ReadString('\n'); err != nil || line != "data: one\n" {
		t.Errorf("%q %v", line, err)
	}
	write(t, app, strings.ReplaceAll(pagiApp, "NAME", "two"))
	if err := g.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.Log.WaitFor(t, "level=INFO", "reload: done")
	if _, body := g.get("/"); body != "two" {
		t.Errorf("after the reload: %q", body)
	}
	say("still there", "one: still there")
}
