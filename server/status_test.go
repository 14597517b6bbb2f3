package server

import (
	"fmt"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Requests and connections are counted, and of each the ones that were turned away.
func TestStatusCountsTraffic(t *testing.T) {
	x := launch(t, &Server{App: echo, Limits: Limits{MaxConnections: 1}})
	say := func(request string) {
		c := x.request(request)
		c.Response("GET")
		_ = c.Close()
		testkit.Eventually(t, "the connection to be gone", func() bool { return x.connections() == 0 })
	}
	say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	say("POST /too-large HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
	say("GET /no-host HTTP/1.1\r\n\r\n")
	held := x.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	held.Response("GET")
	x.dial().Response("GET")
	now, _ := x.server.Status()
	if got := fmt.Sprintf("%+v", now.Traffic); got != "{Connections:5 ConnectionsRefused:1 Requests:4 RequestsRefused:1}" {
		t.Error(got)
	}
	if want := (status.Protocols{HTTP1: 1}); now.Protocols != want {
		t.Errorf("open are %+v", now.Protocols)
	}
	_ = held.Close()
}

func TestStatusCountsTrafficOfHTTP2(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		x, p := launch(&Server{App: echo})
		p.request(1, "GET", true)
		p.answer(1)
		now, _ := x.server.Status()
		if got := fmt.Sprintf("%+v", now.Traffic); got != "{Connections:1 ConnectionsRefused:0 Requests:1 RequestsRefused:0}" {
			t.Error(got)
		}
		if want := (status.Protocols{HTTP2: 1}); now.Protocols != want {
			t.Errorf("open are %+v", now.Protocols)
		}
		_ = p.conn.Close()
		testkit.Eventually(t, "no connection", func() bool { now, _ := x.server.Status(); return now.Protocols == status.Protocols{} })
	})
}
