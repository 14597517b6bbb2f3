package session_test

import (
	"fmt"
	"io"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// A client of net/http with a cookie jar keeps its session over real connections.
func TestSessionsOverASocket(t *testing.T) {
	keys := []session.Key{key("k")}
	for name, store := range map[string]session.Store{
		"memory": &session.Memory{}, "sealed": &session.CookieStore{Keys: keys}, "signed": &session.CookieStore{Keys: keys, Signed: true},
	} {
		t.Run(name, func(t *testing.T) {
			app := basics()
			for n := range 20 {
				app[fmt.Sprint("/set/", n)] = func(c *call) (string, error) { return "", c.Set(fmt.Sprint("k", n), n) }
			}
			app["/keys"] = func(c *call) (string, error) { return fmt.Sprint(len(c.Keys())), nil }
			server := httptest.NewServer(nethttp.Handler(session.Manager{Store: store}.Wrap(app)))
			defer server.Close()
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			client := server.Client()
			client.Jar = jar
			get := func(path string) string {
				res, err := client.Get(server.URL + path)
				if err != nil {
					t.Error(err)
					return ""
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != 200 {
					t.Errorf("%s: status %d, error %v", path, res.StatusCode, err)
				}
				return string(body)
			}
			get("/login")
			if got := get("/user"); got != "ann" {
				t.Errorf("user %q", got)
			}
			var wg sync.WaitGroup
			for n := range 20 {
				wg.Go(func() { get(fmt.Sprint("/set/", n)) })
			}
			wg.Wait()
			if got := get("/keys"); name == "memory" && got != "21" {
				t.Errorf("%s keys", got)
			}
			get("/logout")
			if got := get("/user"); got != "nobody" {
				t.Errorf("after the logout the user is %q", got)
			}
		})
	}
}
