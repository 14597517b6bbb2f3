package mux_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// A worker that listens serves two gateways, as while one hands over to the other. The end of one leaves the
// streams of the other alone. It refuses a wrong token, and compares the user of who dials.
func TestAWorkerThatIsDialled(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	app := pagi.AppFunc(sample)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				line, err := mux.Answer(conn, wire.Offer{Features: features}, wire.FeatureScopes, func(h wire.HelloPayload) error {
					peer, known, err := proc.PeerOf(conn.(*net.UnixConn))
					switch {
					case err != nil:
						return err
					case known && peer.UID != os.Geteuid():
						return errors.New("a process of another user")
					case h.Token != "token":
						return errors.New("a token that is not expected")
					}
					return nil
				})
				if err == nil {
					_ = mux.NewWorker(line, app, mux.WorkerOptions{}).Run(context.Background()) // ends with its gateway
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	dial := func(token string) (*mux.Conn, error) {
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		line, err := mux.Greet(conn, wire.Offer{Features: features}, token)
		if err != nil {
			conn.Close()
			return nil, err
		}
		ready := make(chan error, 1)
		c := mux.New(line, mux.Options{Ready: func(err error) { ready <- err }})
		var running sync.WaitGroup
		running.Go(func() { _ = c.Run() }) // ends by Close
		t.Cleanup(func() {
			c.Close()
			running.Wait()
		})
		return c, testkit.Await(t, ready)
	}
	if _, err := dial("guess"); !errors.Is(err, mux.ErrRefused) {
		t.Errorf("a wrong token: %v", err)
	}
	old, err := dial("token")
	if err != nil {
		t.Fatal(err)
	}
	next, err := dial("token")
	if err != nil {
		t.Fatal(err)
	}
	ws := pagitest.New(next).WebSocket("/")
	if r := pagitest.New(old).Get("/"); r.Text() != "hello" {
		t.Errorf("%+v", r)
	}
	old.Close()
	if err := ws.SendText("still there?"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); got != "still there?" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
}
