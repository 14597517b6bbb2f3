package perlpagi_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// TestOverALease runs the tests once more with workers of a keeper, which the gateway dials.
func TestOverALease(t *testing.T) {
	t.Parallel()
	needs(t, "IO::Async::Loop", "Future::AsyncAwait")
	leased.Again(t, "^Test(HTTP|State|WebSocket|EventStream|ConnectionObject|BackPressure|Workers|Start|Recycling|Reload|Preload|ABlockedWorker|DisconnectGrace|OtherForms|RequestsWait|TooMany|WhereTheLoop)")
}

// pidApp tells its pid, to requests and to each message of a WebSocket. It notes the lifespan, and how each WebSocket has
// ended, in files.
const pidApp = `use strict; use warnings; use Future::AsyncAwait;
sub note { open my $f, '>>', "$ENV{SCRATCH}/$_[0]" or die $!; print $f "$_[1]\n"; close $f }
async sub {
    my ($scope, $receive, $send) = @_;
    if ($scope->{type} eq 'lifespan') {
        while (1) {
            my $event = await $receive->();
            note('life', "$event->{type} $$");
            await $send->({ type => "$event->{type}.complete" });
            return if $event->{type} eq 'lifespan.shutdown';
        }
    }
    if ($scope->{type} eq 'websocket') {
        await $receive->();
        await $send->({ type => 'websocket.accept' });
        while (1) {
            my $event = await $receive->();
            return note('end', "$scope->{path} $event->{code} $event->{reason}") if $event->{type} eq 'websocket.disconnect';
            await $send->({ type => 'websocket.send', text => "$$ $event->{text}" });
        }
    }
    await $send->({ type => 'http.response.start', status => 200, headers => [] });
    await $send->({ type => 'http.response.body', body => $$ });
}
`

// kept is a keeper with an application that tells its pid.
type kept struct {
	*lease.Keeper
	opt     perlpagi.PAGI
	scratch string
	log     testkit.Log
}

func keep(t *testing.T) *kept {
	t.Helper()
	needs(t, "IO::Async::Loop", "Future::AsyncAwait")
	k := &kept{scratch: t.TempDir()}
	k.opt = perlpagi.PAGI{Code: pidApp, Name: "/", Processes: worker.Processes{Workers: 1}, Env: map[string]string{"SCRATCH": k.scratch}, Logger: k.log.Logger()}
	opt := lease.KeeperOptions{}
	opt.User = os.Geteuid()
	var err error
	if k.Keeper, err = k.opt.Keeper(opt); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := k.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", &k.log)
		}
	})
	return k
}

// noted waits for a line of one of the application's files.
func (k *kept) noted(t *testing.T, name, line string) {
	t.Helper()
	testkit.Eventually(t, name+": "+line, func() bool {
		text, err := os.ReadFile(filepath.Join(k.scratch, name))
		return err == nil && strings.Contains(string(text), line+"\n")
	})
}

// gateway is a gateway of a keeper.
type gateway struct {
	*pagitest.Client
	crew *lease.Crew
	run  *lifespan.Run
}

func (k *kept) gateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{}
	o := k.opt
	o.Crew = func(opt worker.Options, host worker.Host) worker.Crew {
		g.crew = lease.New(lease.Options{Options: opt, Control: leased.Line(k.Keeper)}, host)
		return g.crew
	}
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	if g.run, err = lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan, State: map[string]any{}}); err != nil {
		t.Fatal(err)
	}
	g.Client = pagitest.New(app)
	return g
}

// stop ends a gateway that has no scopes.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	if err := g.run.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// say sends a text over a WebSocket and returns the answer.
func say(t *testing.T, ws *pagitest.WebSocket, text string) string {
	t.Helper()
	if err := ws.SendText(text); err != nil {
		t.Fatal(err)
	}
	answer, err := ws.ReceiveText()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// A worker with an event loop serves two gateways at once, as in the middle of a hot restart. The end of one does not touch
// the scopes of the other.
func TestTwoGatewaysHaveOneWorker(t *testing.T) {
	t.Parallel()
	k := keep(t)
	old := k.gateway(t)
	pid := old.Get("/").Text()
	first := old.WebSocket("/first")
	young := k.gateway(t)
	second := young.WebSocket("/second")
	if got := young.Get("/").Text(); got != pid {
		t.Errorf("the second gateway has worker %s, the first one %s", got, pid)
	}
	for range 3 {
		if a, b := say(t, first, "x"), say(t, second, "y"); a != pid+" x" || b != pid+" y" {
			t.Errorf("%q and %q from worker %s", a, b, pid)
		}
	}
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	if err := old.crew.Stop(cut); err != nil { // the WebSocket of the old gateway ends with its connection
		t.Error(err)
	}
	k.noted(t, "end", "/first 1006 server_shutdown")
	if _, err := first.Receive(); err == nil {
		t.Error("the WebSocket of a gateway that has gone goes on")
	}
	_ = first.Finish() // its error was read
	old.stop(t)
	if got := say(t, second, "still"); got != pid+" still" {
		t.Errorf("%q", got)
	}
	if err := second.Close(1000, "bye"); err != nil {
		t.Error(err)
	}
	if err := second.Finish(); err != nil {
		t.Error(err)
	}
	k.noted(t, "end", "/second 1000 bye")
	young.stop(t)
	third := k.gateway(t)
	if got := third.Get("/").Text(); got != pid {
		t.Errorf("the third gateway has worker %s, not %s", got, pid)
	}
	third.stop(t)
	text, err := os.ReadFile(filepath.Join(k.scratch, "life"))
	if err != nil || string(text) != "lifespan.startup "+pid+"\n" {
		t.Errorf("lifespan: %q, %v", text, err)
	}
}

// At a reload the worker that is replaced finishes the WebSockets of both gateways, and shuts its lifespan down after that.
func TestAReloadWithTwoGateways(t *testing.T) {
	t.Parallel()
	k := keep(t)
	one, two := k.gateway(t), k.gateway(t)
	pid := one.Get("/").Text()
	a, b := one.WebSocket("/a"), two.WebSocket("/b")
	say(t, a, "x")
	say(t, b, "x")
	if _, err := k.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*gateway{one, two} {
		testkit.Eventually(t, "a new worker", func() bool { now := g.Get("/").Text(); return now != pid && now != "" })
	}
	for name, ws := range map[string]*pagitest.WebSocket{"/a": a, "/b": b} {
		if got := say(t, ws, "on"); got != pid+" on" {
			t.Errorf("%s: %q", name, got)
		}
		if err := errors.Join(ws.Close(1000, "done"), ws.Finish()); err != nil {
			t.Error(err)
		}
		k.noted(t, "end", name+" 1000 done")
	}
	k.noted(t, "life", "lifespan.shutdown "+pid)
	one.stop(t)
	two.stop(t)
}
