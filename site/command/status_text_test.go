package command

import (
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	g := &status.Gateway{
		Version: "1", PID: 7, Environment: "deployment", Since: ago(time.Hour),
		Server: status.Server{
			Listeners: []status.Listener{{Address: "[::]:443", TLS: true}}, Connections: 3, Requests: 2,
			Traffic: status.Traffic{Connections: 10, ConnectionsRefused: 1, Requests: 20, RequestsRefused: 2},
			Certificates: []status.Certificate{
				{File: "cert.pem", Names: []string{"a.example", "b.example"}, Expires: now.Add(240 * time.Hour)},
				{Domain: "c.example", Names: []string{"c.example"}, Expires: now.Add(480 * time.Hour)}, {Domain: "d.example"},
			},
		},
		Mounts: []status.Mount{
			{Mount: "/app", Kind: "psgi", Source: "app.psgi", Backend: &status.Backend{
				Workers: []status.Worker{
					{ID: 1, PID: 100, State: "busy", Generation: 1, Served: 9, Inflight: 1, Since: ago(time.Minute), Resident: 3 << 20, Request: &status.Request{
						Method: "GET", Path: "/app/\x1b[31m\n" + strings.Repeat("x", 200), ID: "abc", Since: ago(1500 * time.Millisecond), ClientLeft: true,
					}},
					{ID: 12, PID: 101, State: "ready", Generation: 1, Since: ago(time.Second)},
				},
				Queued: 1, Oldest: status.Seconds(300 * time.Millisecond),
				Totals: status.Totals{
					Requests: 11, Errors: status.Errors{Application: 2, Died: 1}, Restarts: status.Restarts{Died: 1}, FailedStarts: 3,
					Waits: 4, Waited: status.Seconds(2 * time.Second),
				},
			}},
			{Mount: "/cgi-bin", Kind: "cgi", Source: "cgi-bin", Backend: &status.Backend{
				Scripts: []status.Script{
					{Script: "/srv/a.cgi", PID: 200, Mode: "fork", Since: ago(time.Second), Request: &status.Request{Method: "POST", Path: "/cgi-bin/a.cgi", Since: ago(time.Second)}},
					{Script: "/srv/b.cgi", PID: 201, Mode: "exec", Since: ago(time.Second)},
				},
				Compiled: []status.Compiled{
					{Script: "/srv/a.cgi", State: "compiled", PID: 199, Persistent: true, Processes: 4, Idle: 3, Requests: 5, Used: ago(time.Second)},
					{Script: "/srv/b.cgi", State: "exec", Reason: "it is no Perl script", Requests: 1, Used: ago(time.Second)},
				},
			}},
			{Mount: "/live", Kind: "proxy", Source: "proxy", Backend: &status.Backend{
				Upstreams: []status.Upstream{
					{Address: "http://10.0.0.1:80", State: "up", Sent: 12, Inflight: 1},
					{Address: "unix:/run/a.sock", State: "resting", Sent: 3, Failed: 3},
				},
				Totals: status.Totals{Requests: 15},
			}},
			{Mount: "/", Kind: "file", Source: "public"},
		},
		Services: []status.Service{
			{Service: "search", State: "running", PID: 321, Since: ago(2 * time.Hour)},
			{Service: "mailer", State: "paused", Restarts: 3, LastExit: "exit status 1", NextStart: now.Add(4 * time.Second)},
		},
		Cron: []status.Job{
			{Job: "report", Schedule: "0 6 * * 1-5", Next: now.Add(18 * time.Hour), Runs: 5, Failures: 1, LastRun: ago(6 * time.Hour),
				LastSeconds: status.Seconds(1200 * time.Millisecond), LastExit: "exit status 1"},
			{Job: "tidy", Schedule: "every 5m0s", Next: now.Add(3 * time.Minute), PID: 355, Since: ago(12 * time.Second), Skipped: 2},
		},
	}
	want := `pagi-bridge 1 (deployment), process 7, for 1h0m0s
listens at [::]:443, TLS
3 connections, 2 requests
since the start: connections: 10 (refused: 1), requests: 20 (refused: 2)
certificate cert.pem for a.example, b.example expires 2026-02-20T12:00:00Z
certificate by ACME for c.example expires 2026-03-02T12:00:00Z
no certificate by ACME for d.example yet

/app  psgi  app.psgi
  requests: 11, failed: 3 (application: 2, process died: 1), waits in the queue: 4 (2.0 s in all)
  workers replaced: 1 (died: 1)
  starts of workers that failed: 3
  1 requests wait, the first for 0.3 s
  worker  pid  state  generation  served  in hand   age   memory  running for  request
       1  100   busy           1       9        1  1m0s  3.0 MiB        1.5 s  GET /app/\x1b[31m\n` + strings.Repeat("x", 85) + `... (id abc), the client has left
      12  101  ready           1       0        0    1s  0.0 MiB            -

/cgi-bin  cgi  cgi-bin
  requests: 0
  pid  run by  running for  request, script
  200    fork        1.0 s  POST /cgi-bin/a.cgi, /srv/a.cgi
  201    exec        1.0 s  its answer is complete, /srv/b.cgi
     state  pid  processes  idle  requests  last asked for  script
  compiled  199          4     3         5          1s ago  /srv/a.cgi
      exec    -          -     -         1          1s ago  /srv/b.cgi: it is no Perl script

/live  proxy  proxy
  requests: 15
    state  sent  failed  in hand  upstream
       up    12       0        1  http://10.0.0.1:80
  resting     3       3        0  unix:/run/a.sock

/  file  public

services
    state  pid  running for  restarts  starts in  service
  running  321       2h0m0s         0          -  search
   paused    -            -         3         4s  mailer, last end: exit status 1

cron
  pid  running for  next in  runs  failed  skipped    last run   took  job
    -            -  18h0m0s     5       1        0  6h0m0s ago  1.2 s  report (0 6 * * 1-5), last end: exit status 1
  355          12s     3m0s     0       0        2           -      -  tidy (every 5m0s)
`
	got := statusText(g, now)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
