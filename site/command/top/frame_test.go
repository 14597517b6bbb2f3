package top

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/terminal"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a gateway at two moments.
func sample() *vitals.View {
	now := time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	make := func(more int64) *status.Gateway {
		times := make(status.Times, 40)
		times[20], times[38] = 90*(1+more), 2*(1+more)
		shop := status.Responses{Requests: 92 * (1 + more), Failed: 3 * more, Times: times}
		files := status.Responses{Requests: 12345678}
		return &status.Gateway{
			Version: "1.2.3", PID: 4711, Since: ago(26*time.Hour + 3*time.Minute),
			Server:    status.Server{Protocols: status.Protocols{HTTP1: 12, HTTP2: 3, HTTP3: 1}, Requests: 3, Traffic: status.Traffic{Connections: 123456}},
			Responses: shop.Plus(files),
			Mounts: []status.Mount{
				{Mount: "/shop", Kind: "psgi", Responses: &shop, Backend: &status.Backend{
					Circuit: "closed", Running: 1, Queued: 4,
					Workers: []status.Worker{
						{ID: 1, PID: 4712, State: "busy", Served: 1200, Inflight: 1, Since: ago(90 * time.Second), Resident: 42 << 20, Request: &status.Request{
							Method: "GET", Path: "/shop/\x1b[2J\u202e日本\n", ID: "01a2", Since: ago(1500 * time.Millisecond), ClientLeft: true,
						}},
						{ID: 2, PID: 4713, State: "ready", Served: 7, Since: ago(50 * time.Hour), Resident: 41 << 20},
					},
					Totals: status.Totals{Restarts: status.Restarts{TimedOut: 2}, LastRestart: &status.Restart{Cause: "timed_out", At: ago(90 * time.Second)}},
				}},
				{Mount: "/cgi-bin", Kind: "cgi", Responses: &status.Responses{Requests: 5}, Backend: &status.Backend{
					Scripts: []status.Script{{Script: "/srv/secret.cgi", PID: 5000, Mode: "fork", Since: ago(250 * time.Millisecond), Request: &status.Request{
						Method: "POST", Path: "/cgi-bin/form", Since: ago(250 * time.Millisecond),
					}}},
					Runs: &status.Runs{Exec: 3, Fork: 2},
				}},
				{Mount: "api.example.org/", Kind: "proxy", Responses: &status.Responses{}, Draining: ago(time.Minute), Backend: &status.Backend{
					Upstreams: []status.Upstream{{Address: "http://10.0.0.1", State: "up"}, {Address: "http://10.0.0.2", State: "down"}},
				}},
				{Mount: "/broken", Kind: "psgi", Responses: &status.Responses{}, Backend: &status.Backend{Circuit: "open", Problem: "syntax error"}},
				{Mount: "/", Kind: "directory", Responses: &files},
			},
			Services: []status.Service{
				{Service: "search", State: "running", PID: 321, Since: ago(2 * time.Hour)},
				{Service: "a-mailer-with-a-long-name", State: "paused", Restarts: 3, LastExit: "fork/exec /srv/secret: no such file", NextStart: now.Add(4 * time.Second)},
			},
			Cron: []status.Job{
				{Job: "report", Schedule: "0 6 * * 1-5", Next: now.Add(18 * time.Hour), Runs: 5, Failures: 1, LastRun: ago(6 * time.Hour), LastSeconds: status.Seconds(1200 * time.Millisecond), LastExit: "exit status 1"},
				{Job: "tidy", Schedule: "every 5m0s", Next: now.Add(3 * time.Minute), PID: 355, Since: ago(12 * time.Second), Skipped: 2},
			},
		}
	}
	before := vitals.Look{At: ago(2 * time.Second), Gateway: make(0)}
	return vitals.Make(vitals.Look{At: now, Gateway: make(5)}, before, before)
}

func TestFrames(t *testing.T) {
	draining := sample()
	in := 4.2
	draining.StopsIn = &in
	for name, c := range map[string]struct {
		state State
		view  *vitals.View
	}{
		"wide":     {State{Columns: 170, Lines: 24, Workers: true}, sample()},
		"usual":    {State{Columns: 80, Lines: 30, Workers: true}, sample()},
		"middle":   {State{Columns: 120, Lines: 24}, sample()},
		"narrow":   {State{Columns: 40, Lines: 12}, sample()},
		"tiny":     {State{Columns: 9, Lines: 3, Workers: true}, sample()},
		"scrolled": {State{Columns: 80, Lines: 7, Workers: true, Scroll: 99, Paused: true}, sample()},
		"sorted":   {State{Columns: 80, Lines: 12, Sort: SortRate}, sample()},
		"named":    {State{Columns: 80, Lines: 12, Sort: SortMount}, sample()},
		"coloured": {State{Columns: 80, Lines: 12, Workers: true, Color: true}, sample()},
		"draining": {State{Columns: 80, Lines: 10, Color: true}, draining},
		"problem":  {State{Columns: 80, Lines: 10, Problem: "no gateway answers: \x1b[1m"}, sample()},
		"help":     {State{Columns: 80, Lines: 24, Help: true}, sample()},
	} {
		t.Run(name, func(t *testing.T) {
			lines := c.state.Frame(c.view)
			if len(lines) > c.state.Lines {
				t.Errorf("%d lines on a screen of %d", len(lines), c.state.Lines)
			}
			for _, line := range lines {
				bare := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(line, "")
				if terminal.Width(bare) > c.state.Columns || strings.ContainsAny(bare, "\x1b\n\r\u202e") {
					t.Errorf("%q does not fit into %d columns", line, c.state.Columns)
				}
			}
			golden(t, name, strings.Join(lines, "\n")+"\n")
		})
	}
	table := State{Workers: true}
	golden(t, "table", strings.Join(table.Table(sample()), "\n")+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	got = strings.ReplaceAll(got, "\x1b", "<ESC>")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestEveryWidthFits(t *testing.T) {
	for columns := 1; columns < 200; columns++ {
		for _, sort := range []Sort{SortSite, SortP99} {
			s := State{Columns: columns, Lines: 20, Workers: true, Sort: sort}
			for _, line := range s.Frame(sample()) {
				if terminal.Width(line) > columns {
					t.Fatalf("%q has %d columns, of %d", line, terminal.Width(line), columns)
				}
			}
		}
	}
}

func TestNumbersFitTheirColumns(t *testing.T) {
	for n := 0.0004; n < 1e12; n *= 1.37 {
		for name, text := range map[string]string{
			"count": count(int64(n)), "rate": rate(&n), "size": size(int64(n)), "duration": duration(&n), "age": age(min(n, 1e9)),
		} {
			if len(text) > 7 && !(name == "size" && n > 1e11) && !(name == "age" && n > 8e7) && !(name == "duration" && n > 8e10) {
				t.Errorf("%s of %v is %q", name, n, text)
			}
		}
	}
	for text, want := range map[string]string{
		count(9999): "9999", count(10_000): "10.0k", count(999_949): "1000k", duration(ptr(0.5)): "500us", duration(ptr(12)): "12.0ms",
		duration(nil): "-", rate(nil): "-", rate(ptr(0)): "0", rate(ptr(1234.4)): "1234", age(3661): "1h01m", size(0): "-", size(5 << 30): "5120M",
	} {
		if text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func ptr(f float64) *float64 { return &f }

func TestKeys(t *testing.T) {
	for text, want := range map[string][]key{
		"q":                   {keyQuit},
		"\x03":                {keyQuit},
		"jjk":                 {keyDown, keyDown, keyUp},
		"\x1b[A\x1b[B\x1bOA":  {keyUp, keyDown, keyUp},
		"\x1b[5~\x1b[6~gG":    {keyPageUp, keyPageDown, keyHome, keyEnd},
		"\x1b[99;1R p\x1b[1;": {keyPause, keyPause},
		"\x1b":                nil,
		"\x1bq":               {keyQuit},
		"\xff\x00\x1b[":       nil,
		"r<>?":                {'r', keyPreviousSort, keyNextSort, keyHelp},
	} {
		if got := parseKeys(text); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add("\x1b[A\x1bO\x1b[")
	f.Fuzz(func(t *testing.T, text string) {
		if keys := parseKeys(text); len(keys) > len(text) {
			t.Errorf("%d keys in %q", len(keys), text)
		}
	})
}
