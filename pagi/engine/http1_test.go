package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// engineVariable makes a test program use the engine it names.
const engineVariable = "PAGI_TEST_ENGINE"

func init() {
	if os.Getenv(engineVariable) == "http1" {
		OtherEngine = serveHTTP1
	}
}

func serveHTTP1(t *testing.T, handler http.Handler, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &http1.Server{Handler: handler, Context: ctx, Log: slog.New(slog.DiscardHandler)}
	if a, ok := handler.(*nethttp.Adapter); ok {
		s.Refused = func(r *http1.Refusal) { a.Engine.Observe(&r.Record) }
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		cancel()
		s.Drain()
		if err := errors.Join(l.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		s.Close()
	})
}

// Everything that holds over net/http holds over the engine the gateway uses.
func TestOverHTTP1(t *testing.T) {
	if os.Getenv(engineVariable) != "" {
		t.Skip("this is that run")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^Test")
	cmd.Env = append(os.Environ(), engineVariable+"=http1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
