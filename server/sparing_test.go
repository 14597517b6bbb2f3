package server

import (
	"context"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestWarningsAreSparing(t *testing.T) {
	s, now := &sparing{}, time.Now()
	count := func(msg string, at time.Duration, times int) (logged, leftOut int) {
		for range times {
			if n, ok := s.take(msg, now.Add(at)); ok {
				logged, leftOut = logged+1, leftOut+n
			}
		}
		return logged, leftOut
	}
	for _, tt := range []struct {
		name            string
		msg             string
		at              time.Duration
		times           int
		logged, leftOut int
	}{
		{"some", "a", 0, 3, 3, 0},
		{"many", "a", 0, 100, warningsAtOnce - 3, 0},
		{"of another kind", "b", 0, 1, 1, 0},
		{"later", "a", warningsEvery, 1, 1, 93},
		{"and then", "a", warningsEvery, 1, 1, 0},
	} {
		if logged, leftOut := count(tt.msg, tt.at, tt.times); logged != tt.logged || leftOut != tt.leftOut {
			t.Errorf("%s: %d logged, %d left out", tt.name, logged, leftOut)
		}
	}
}

func TestRefusedConnectionsDoNotFillTheLog(t *testing.T) {
	x := launch(t, &Server{App: echo, Limits: Limits{MaxConnections: 1}})
	x.request(ask).Response("GET")
	for range 3 * warningsAtOnce {
		x.dial().Response("GET")
	}
	if n := strings.Count(x.log.String(), "too many connections"); n != warningsAtOnce {
		t.Errorf("%d lines", n)
	}
}

func TestRefusedRequestsDoNotFillTheLog(t *testing.T) {
	x := launch(t, &Server{App: echo, Limits: Limits{Limits: engine.Limits{MaxBodySize: 1, MaxHeaderCount: 5}}})
	for range 3 * warningsAtOnce {
		x.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab").Response("POST")
		x.request("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n").Response("GET")
	}
	for _, what := range []string{"request body is too large", "request has too many headers"} {
		if n := strings.Count(x.log.String(), what); n != warningsAtOnce {
			t.Errorf("%s: %d lines", what, n)
		}
	}
}

func TestClientsOfHTTP2DoNotFillTheLog(t *testing.T) {
	wait := httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		<-ctx.Done()
		return nil
	})
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		x, p := launch(&Server{App: wait})
		p.request(1, "GET", true)
		for range 3 * warningsAtOnce {
			p.must(p.WriteGoAway(0, xhttp2.ErrCodeInternal, nil))
		}
		p.must(p.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 2})) // of another kind
		x.log.WaitFor(t, "level=WARN", "connection error")
		if n := strings.Count(x.log.String(), "received GOAWAY"); n != warningsAtOnce {
			t.Errorf("%d lines", n)
		}
	})
}
