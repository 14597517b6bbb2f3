package middleware

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	oldKey = `{"kty":"OKP","crv":"Ed25519","kid":"old","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	newKey = `{"kty":"OKP","crv":"Ed25519","kid":"new","x":"gXbbT2vDMw5hbJ4Ls8BRkYQAmmnaGHQYFjhCeyHEVDM"}`
)

func TestRemoteKeys(t *testing.T) {
	var body atomic.Pointer[string]
	var asked atomic.Int32
	serve := func(text string) { body.Store(&text) }
	serve("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		time.Sleep(10 * time.Millisecond)
		if text := *body.Load(); text != "" {
			fmt.Fprint(w, text)
		} else {
			http.Error(w, "down", http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	r := newRemoteKeys(server.URL, slog.New(slog.DiscardHandler))
	r.retry = 0
	key := func(kid string) error {
		_, err := r.keys(t.Context(), &jwt.Token{Method: jwt.SigningMethodEdDSA, Header: map[string]any{"alg": "EdDSA", "kid": kid}})
		return err
	}
	if err := key("old"); !errors.Is(err, errNoKeys) {
		t.Errorf("a server that is down: %v", err)
	}
	serve(`{"keys":[` + oldKey + `]}`)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := key("old"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 2 {
		t.Errorf("20 requests at a time asked %d times", n-1)
	}
	for _, broken := range []string{"", "{", `{"keys":[]}`, `{"keys":[` + strings.Repeat(newKey+",", maxAnswer/len(newKey)) + newKey + `]}`} {
		serve(broken)
		if err := key("new"); err == nil || errors.Is(err, errNoKeys) {
			t.Errorf("an unknown id, and %.20q: %v", broken, err)
		}
		r.maxAge = -1
		if err := key("old"); err != nil {
			t.Errorf("the last good keys have gone with %.20q: %v", broken, err)
		}
		r.maxAge = time.Hour
	}
	serve(`{"keys":[` + newKey + `]}`)
	if err := key("new"); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if err := key("old"); err == nil {
		t.Error("a key that was removed is still known")
	}
	r.retry = time.Hour
	before := asked.Load()
	for range 5 {
		if err := key("made-up"); err == nil {
			t.Error("a made-up id has a key")
		}
	}
	if n := asked.Load() - before; n != 0 {
		t.Errorf("made-up ids asked %d times", n)
	}
}
