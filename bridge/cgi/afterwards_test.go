//go:build unix

package cgi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

func TestTheClientHasItsAnswerWhileTheScriptWorksOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go")
	server := httptest.NewServer(nethttp.Handler(build(t, CGI{Concurrency: 1, QueueTimeout: -1})))
	defer server.Close()
	client := &http.Client{Timeout: testkit.Patience}
	if _, body := testkit.Get(t, client, server.URL+"/closestdout.cgi?"+file); body != "done\n" {
		t.Errorf("%q", body)
	}
	if res, _ := testkit.Get(t, client, server.URL+"/hello.cgi"); res.StatusCode != 503 {
		t.Errorf("the script gave its place away: %d", res.StatusCode)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the place to become free", func() bool {
		res, _ := testkit.Get(t, client, server.URL+"/hello.cgi")
		return res.StatusCode == 200
	})
}

func TestShutdownWaitsForScriptsThatWorkOn(t *testing.T) {
	for name, patient := range map[string]bool{"to their end": true, "no longer than it may": false} {
		t.Run(name, func(t *testing.T) {
			log := &testkit.Log{}
			application := build(t, CGI{Logger: log.Logger()})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			lifespan, err := lifespan.Start(t.Context(), application, &pagi.Scope{Type: pagi.TypeLifespan})
			if err != nil || !lifespan.Supported() {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "go")
			if res := do(t, application, ask{target: "/closestdout.cgi?" + file}); !res.complete || res.err != nil {
				t.Fatalf("%+v", res)
			}
			down := make(chan error, 1)
			go func() { down <- lifespan.Shutdown(ctx) }()
			select {
			case err := <-down:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			if patient {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				cancel()
			}
			if err := testkit.Await(t, down); patient && err != nil {
				t.Error(err)
			}
			if !patient {
				log.WaitFor(t, "after its response was complete", "the gateway stops", "signal: ")
			} else if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Errorf("the script's work is not done: %v", err)
			}
		})
	}
}
