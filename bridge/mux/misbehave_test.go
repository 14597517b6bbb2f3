package mux_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// pythonWorker starts the worker in Python and returns the gateway's end of its connection. ended gets
// what Run returns.
func pythonWorker(t *testing.T, ping mux.Ping) (conn *mux.Conn, ended <-chan error) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runProgram("python3", filepath.Join("testdata", "worker.py"))(t, l.Addr().String())
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(testkit.Patience))
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	line, err := mux.Answer(raw, wire.Offer{Features: features}, wire.FeatureScopes, func(h wire.HelloPayload) error {
		if h.Token != "token" {
			return errors.New("a wrong token")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, result := make(chan error, 1), make(chan error, 1)
	conn = mux.New(line, mux.Options{Ping: ping, Ready: func(err error) { ready <- err }})
	var running sync.WaitGroup
	running.Go(func() { result <- conn.Run() })
	t.Cleanup(func() {
		conn.Close()
		running.Wait()
	})
	if err := testkit.Await(t, ready); err != nil {
		t.Fatal(err)
	}
	return conn, result
}

// Each of these requests has the worker break one rule. The gateway ends the connection, and both that
// request and another one that is running end with an error.
func TestAWorkerThatMisbehaves(t *testing.T) {
	for path, want := range map[string]string{
		"overrun": "window", "type": "0x77", "stream": "EVENT", "after-end": "EVENT", "credit": "CREDIT",
		"event": "malformed", "pong": "PONG", "payload": "malformed", "loop": "no sign of life",
	} {
		t.Run(path, func(t *testing.T) {
			ping := mux.Ping{Every: -1}
			if path == "loop" {
				ping = mux.Ping{Every: 20 * time.Millisecond, Patience: time.Second}
			}
			conn, ended := pythonWorker(t, ping)
			c := pagitest.New(conn)
			if r := c.Get("/hello"); r.Text() != "hello" {
				t.Fatalf("%+v", r)
			}
			bystander := make(chan *pagitest.Response, 1)
			go func() { bystander <- c.Get("/stall") }()
			testkit.Eventually(t, "the other request to run", func() bool { return conn.Load() == 1 })
			r := c.Get("/misbehave/" + path)
			if err := testkit.Await(t, ended); !strings.Contains(err.Error(), want) {
				t.Errorf("the connection ends with %v, want %q", err, want)
			}
			if r.Err == nil && path != "after-end" { // whose request ends by its END
				t.Errorf("the request ends well: %+v", r)
			}
			if other := testkit.Await(t, bystander); !errors.Is(other.Err, mux.ErrClosed) {
				t.Errorf("the other request ends with %v", other.Err)
			}
		})
	}
}

func TestGreetings(t *testing.T) {
	scopes := wire.Offer{Features: wire.FeatureScopes}
	for _, c := range []struct {
		name  string
		hello []byte
		want  string
	}{
		{"an older version", wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Versions{Least: 0, Most: 2}, Offer: scopes}),
			"it speaks version 2 of the protocol, and this side version 3"},
		{"newer versions", wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Versions{Least: 4, Most: 6}, Offer: scopes}),
			"it speaks versions 4 to 6 of the protocol, and this side version 3"},
		{"other features", wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Supported, Offer: wire.Offer{Features: wire.FeatureRequests}}),
			`it has the features "requests", and this side needs "scopes"`},
		{"a wrong token", wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Supported, Token: "no", Offer: scopes}), "a token that is not expected"},
		{"a window that is too small", wire.AppendHello(nil, wire.HelloPayload{Versions: wire.Supported, Offer: wire.Offer{Features: wire.FeatureScopes, Window: 100}}),
			"window must be 16384 to 16777216"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gateway, worker := sockets(t)
			answered := make(chan error, 1)
			go func() {
				_, err := mux.Answer(gateway, wire.Offer{Features: features}, wire.FeatureScopes, func(h wire.HelloPayload) error {
					if h.Token == "no" {
						return errors.New("a token that is not expected")
					}
					return nil
				})
				answered <- err
			}()
			if _, err := worker.Write(c.hello); err != nil {
				t.Fatal(err)
			}
			f, err := newPeer(t, worker).read()
			if err != nil || f.Type != wire.Refused || !strings.Contains(string(f.Payload), c.want) {
				t.Errorf("%s %q %v, want REFUSED with %q", f.Type, f.Payload, err, c.want)
			}
			if err := <-answered; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("a worker that is refused", func(t *testing.T) {
		gateway, worker := sockets(t)
		go func() {
			_, _ = mux.Answer(gateway, wire.Offer{Features: features}, wire.FeatureRequests, nil) // refuses
		}()
		if _, err := mux.Greet(worker, wire.Offer{Features: features}, ""); !errors.Is(err, mux.ErrRefused) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a WELCOME that was not asked for", func(t *testing.T) {
		gateway, worker := sockets(t)
		go func() {
			_, _ = gateway.Write(wire.AppendWelcome(nil, wire.WelcomePayload{Version: 3, Offer: wire.Offer{Features: features | wire.FeaturePaths}}))
		}()
		if _, err := mux.Greet(worker, wire.Offer{Features: features}, ""); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%v", err)
		}
	})
}
