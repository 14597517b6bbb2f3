package middleware

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLazyProvider(t *testing.T) {
	var up atomic.Bool
	var asked atomic.Int32
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if !up.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[1]s/auth","token_endpoint":"%[1]s/token","jwks_uri":"%[1]s/keys","end_session_endpoint":"javascript:alert(1)"}`, server.URL)
	}))
	defer server.Close()
	l := newLazyProvider(server.URL, server.Client(), slog.New(slog.DiscardHandler))
	l.retry = time.Hour
	for range 3 {
		if _, err := l.get(t.Context()); err == nil {
			t.Error("a provider that is down has a configuration")
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	l.retry = 0
	up.Store(true)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if p, err := l.get(t.Context()); err != nil || p.endSession != nil {
				t.Errorf("%v %v", p, err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("10 requests at a time asked %d times", n-1)
	}
	if _, err := newLazyProvider(server.URL+"/other", server.Client(), slog.New(slog.DiscardHandler)).get(t.Context()); err == nil {
		t.Error("another issuer than the one that was asked is taken")
	}
}

func TestEndedLoginsAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	e := newEndedLogins(func() time.Time { return now })
	for i := range maxEnded {
		e.add(fmt.Sprint(i), now.Add(time.Duration(i)*time.Second))
	}
	e.add("more", now.Add(time.Hour))
	if len(e.till) != maxEnded || !e.has("more") {
		t.Errorf("%d logins are remembered", len(e.till))
	}
	now = now.Add(maxEnded * time.Second)
	e.add("last", now.Add(time.Hour))
	if len(e.till) != 1 || !e.has("last") {
		t.Errorf("%d logins are remembered", len(e.till))
	}
}

func TestEndedLoginsThatStillCountAreKept(t *testing.T) {
	now := time.Unix(1e9, 0)
	e := newEndedLogins(func() time.Time { return now })
	for i := range maxEnded {
		e.add(fmt.Sprint(i), now.Add(time.Duration(1+i%2)*time.Hour))
	}
	now = now.Add(90 * time.Minute) // half of them have expired
	e.add("more", now.Add(time.Hour))
	if len(e.till) != maxEnded/2+1 {
		t.Errorf("%d logins are remembered", len(e.till))
	}
}
