package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// backends parses addresses that are right.
func backends(t testing.TB, addresses ...string) (all []*upstream.Backend) {
	t.Helper()
	for _, address := range addresses {
		b, err := upstream.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// picks returns the hosts of the backends that n requests get.
func picks(p *upstream.Pool, n int) (hosts string) {
	for range n {
		if b, _ := p.Pick("", nil); b != nil {
			hosts += b.URL.Host
		} else {
			hosts += "-"
		}
	}
	return hosts
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"http://a":                "http://a 1",
		"http://a:80/":            "http://a:80 1",
		"https://a/x//":           "https://a/x 1",
		"http://a/%2F%41":         "http://a/%2F%41 1",
		"h2c://[::1]:80/x":        "http://[::1]:80/x 1",
		"unix:/run/a.sock":        "http://localhost 1",
		"unix:/run/a.sock:/x/":    "http://localhost/x 1",
		"  http://a   weight=12 ": "http://a 12",
	} {
		b, err := upstream.Parse(text)
		if err != nil || fmt.Sprint(b.URL, " ", b.Weight) != want {
			t.Errorf("%q: %v %v, want %s", text, b, err, want)
		}
	}
	for _, text := range []string{
		"", "a", "a:80", "http://", "http:a", "ftp://a", "http://a:x", "http://a b", "http://a?b", "http://a/#", "http://me:x@a/", "unix:", "unix:a", "unix:/a:/b?c", "unix:/a:/%zz",
		"http://a weight=-1", "http://a weight=1001", "http://a weight=x", "http://a backup", "http://a\r\nb", "http://\u00e4",
	} {
		if b, err := upstream.Parse(text); err == nil {
			t.Errorf("%q is %v", text, b.URL)
		} else if strings.Contains(err.Error(), "me:x") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"http://a:80/x weight=3", "unix:/run/a:/x", "h2c://[::1]/%2F", "https://a", "http://a@b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := upstream.Parse(text)
		if err != nil {
			return
		}
		if u := b.URL; u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || strings.HasSuffix(u.Path, "/") || b.Weight < 1 {
			t.Errorf("%q: %#v", text, b.URL)
		}
	})
}

func TestRoundRobin(t *testing.T) {
	p := upstream.NewPool(upstream.Options{}, backends(t, "http://a weight=3", "http://b", "http://c"))
	if got := picks(p, 10); got != "abacaabaca" && got != "abcaaabcaa" && got != "abaca"+"abaca" {
		t.Errorf("%s", got)
	}
	counts := map[string]int{}
	for range 500 {
		counts[picks(p, 1)]++
	}
	if diff := cmp.Diff(map[string]int{"a": 300, "b": 100, "c": 100}, counts); diff != "" {
		t.Error(diff)
	}
}

func TestLeastConnections(t *testing.T) {
	all := backends(t, "http://a weight=2", "http://b")
	p := upstream.NewPool(upstream.Options{Balance: upstream.LeastConnections}, all)
	got := ""
	var ends []func()
	for range 6 {
		b, _ := p.Pick("", nil)
		if !b.Acquire(t.Context(), 1) {
			t.Error("there is a limit")
		}
		ends = append(ends, b.Release)
		got += b.URL.Host
	}
	if a := strings.Count(got, "a"); a != 4 {
		t.Errorf("%s", got)
	}
	for _, end := range ends {
		end()
	}
	if now := p.Status(); now[0].Sent != 4 || now[1].Sent != 2 || now[0].State != "up" {
		t.Errorf("%+v", now)
	}
	if all[0].Running() != 0 || all[1].Running() != 0 {
		t.Errorf("%d and %d requests are left", all[0].Running(), all[1].Running())
	}
}

func TestHashIsStable(t *testing.T) {
	const keys = 3000
	choose := func(p *upstream.Pool) (hosts []string, counts map[string]int) {
		counts = map[string]int{}
		for i := range keys {
			b, _ := p.Pick(fmt.Sprint("192.0.2.", i), nil)
			hosts = append(hosts, b.URL.Host)
			counts[b.URL.Host]++
		}
		return hosts, counts
	}
	three, counts := choose(upstream.NewPool(upstream.Options{Balance: upstream.Hash}, backends(t, "http://a", "http://b", "http://c weight=2")))
	for host, want := range map[string]int{"a": keys / 4, "b": keys / 4, "c": keys / 2} {
		if got := counts[host]; got < want*9/10 || got > want*11/10 {
			t.Errorf("%s has %d of %d keys, want about %d", host, got, keys, want)
		}
	}
	two, _ := choose(upstream.NewPool(upstream.Options{Balance: upstream.Hash}, backends(t, "http://c weight=2", "http://a")))
	for i := range three {
		if three[i] != "b" && three[i] != two[i] {
			t.Fatalf("key %d has moved from %s to %s, though only b has gone", i, three[i], two[i])
		}
	}
}

func TestABackendThatFailsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := backends(t, "http://a", "http://b")
		var log testkit.Log
		p := upstream.NewPool(upstream.Options{MaxFails: 2, FailTimeout: 10 * time.Second, Logger: log.Logger()}, all)
		a := all[0]
		fail := func() { p.Failed(a, errors.New("no route")) }
		fail()
		time.Sleep(11 * time.Second)
		fail() // the first one does not count any more
		if got := picks(p, 4); got != "abab" {
			t.Errorf("after a failure: %s", got)
		}
		fail()
		if got := picks(p, 3); got != "bbb" {
			t.Errorf("after two failures: %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := picks(p, 4); strings.Count(got, "a") != 1 {
			t.Errorf("one request is tried after the time: %s", got)
		}
		fail()
		time.Sleep(9 * time.Second)
		if got := picks(p, 3); got != "bbb" {
			t.Errorf("after another failure: %s", got)
		}
		p.Failed(all[1], nil)
		p.Failed(all[1], nil)
		if now := p.Status(); now[0].State != "resting" || now[0].Failed != 4 || now[1].Failed != 2 {
			t.Errorf("%+v", now)
		}
		if b, wait := p.Pick("", nil); b != nil || wait != time.Second {
			t.Errorf("%v, %v", b, wait)
		}
		time.Sleep(time.Second)
		if b, _ := p.Pick("", nil); b != a {
			t.Errorf("%v", b)
		}
		p.Succeeded(a)
		if got := picks(p, 2); got != "aa" {
			t.Errorf("after a success: %s", got)
		}
		if n := strings.Count(log.String(), "\n"); n != 3 || !strings.Contains(log.String(), "no route") {
			t.Errorf("%d records:\n%s", n, log.String())
		}
	})
}

func TestTriedBackendsAreNotPickedAgain(t *testing.T) {
	all := backends(t, "http://a", "http://b")
	p := upstream.NewPool(upstream.Options{}, all)
	if b, _ := p.Pick("", all[:1]); b != all[1] {
		t.Errorf("%v", b)
	}
	if b, _ := p.Pick("", all); b != nil {
		t.Errorf("%v", b)
	}
}

func TestChecks(t *testing.T) {
	statuses := make(chan int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/healthz?a" || r.Host != "app.example" {
			t.Errorf("%s %s", r.Host, r.RequestURI)
		}
		select {
		case status := <-statuses:
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "state")
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	all := backends(t, server.URL+"/prefix")
	var log testkit.Log
	p := upstream.NewPool(upstream.Options{Logger: log.Logger()}, all)
	transport := upstream.NewTransport(upstream.TransportOptions{ConnectTimeout: testkit.Patience}, all)
	defer transport.CloseIdle()
	checks := &upstream.Checks{Pool: p, Transport: transport, Path: "/healthz?a", Host: "app.example", Interval: time.Millisecond, Timeout: testkit.Patience, Status: []int{200, 418}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { checks.Run(ctx) })
	usable := func() bool { b, _ := p.Pick("", nil); return b != nil }
	statuses <- 204
	testkit.Eventually(t, "the backend to be down", func() bool { return !usable() })
	if now := p.Status(); now[0].State != "down" {
		t.Errorf("%+v", now)
	}
	statuses <- 418
	testkit.Eventually(t, "the backend to be up", usable)
	cancel()
	running.Wait()
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "status 204") {
		t.Errorf("%s", log.String())
	}
}
