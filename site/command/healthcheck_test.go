package command

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

func TestReadyGateways(t *testing.T) {
	worker := func(state string) *status.Backend { return &status.Backend{Workers: []status.Worker{{State: state}}} }
	for name, c := range map[string]struct {
		gateway status.Gateway
		want    string
	}{
		"nothing to wait for":      {status.Gateway{Mounts: []status.Mount{{Mount: "/", Kind: "file"}}}, ""},
		"a worker is ready":        {status.Gateway{Mounts: []status.Mount{{Mount: "/", Kind: "psgi", Backend: worker("ready")}}}, ""},
		"a worker is busy":         {status.Gateway{Mounts: []status.Mount{{Mount: "/", Kind: "perlpagi", Backend: worker("busy")}}}, ""},
		"a worker starts":          {status.Gateway{Mounts: []status.Mount{{Mount: "/", Kind: "psgi", Backend: worker("starting")}}}, "/: no worker is ready"},
		"no worker can be started": {status.Gateway{Mounts: []status.Mount{{Mount: "/", Kind: "psgi", Backend: &status.Backend{Circuit: "open", Problem: "syntax error"}}}}, "/: its workers cannot be started: syntax error"},
		"it is drained":            {status.Gateway{Draining: time.Now()}, "the gateway is being drained"},
	} {
		got := ""
		if err := ready(&c.gateway); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestHealthOfAURL(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/away", http.StatusFound)
		case "/away":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{"/": "", "/moved": "", "/away": "answers 503"} {
		err := checkURL(t.Context(), server.URL+path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := checkURL(t.Context(), "localhost:80"); err == nil {
		t.Error("what is no URL is asked")
	}
}
