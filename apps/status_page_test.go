package apps_test

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/testkit/browser"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/server"
)

const markup = `<img src=x onerror="document.title='run'"><script>document.title='run'</script>`

// watched is a gateway that serves ten requests more at each look.
func watched() func() *status.Gateway {
	var n atomic.Int64
	began := time.Now()
	return func() *status.Gateway {
		served := n.Add(1) * 10
		times := make(status.Times, 30)
		times[22], times[29] = served-served/10, served/10
		app := status.Responses{Requests: served, Failed: served / 10, Times: times}
		files := status.Responses{Requests: 3 * served}
		return &status.Gateway{
			Version: "1.2.3", PID: 4711, Environment: "secret-environment", Since: began, Responses: app.Plus(files),
			Server: status.Server{Protocols: status.Protocols{HTTP1: 4, HTTP2: 2}, Requests: 2},
			Mounts: []status.Mount{
				{Mount: "/shop", Kind: "psgi", Source: "/srv/secret-source --password=x", Responses: &app, Backend: &status.Backend{
					Circuit: "closed", Running: 1, Queued: int(served/10) % 4, Problem: "secret-problem",
					Workers: []status.Worker{
						{ID: 1, PID: 101, State: "busy", Served: int(served), Since: began, Resident: 40<<20 + served<<14, Request: &status.Request{
							Method: "GET", Path: "/shop/" + markup + strings.Repeat("long", 20), ID: "01a2<b>", Since: time.Now().Add(-time.Second),
						}},
						{ID: 2, PID: 102, State: "ready", Served: 3, Since: began, Resident: 40 << 20},
					},
					Totals: status.Totals{Restarts: status.Restarts{Died: 1}, LastRestart: &status.Restart{Cause: "died", At: began}},
				}},
				{Mount: "/cgi-bin", Kind: "cgi", Draining: began, Responses: &status.Responses{}, Backend: &status.Backend{
					Scripts: []status.Script{{Script: "/srv/secret-script", PID: 500, Mode: "exec", Since: began}}, Runs: &status.Runs{Exec: 7},
				}},
				{Mount: "/", Kind: "directory", Source: ".", Responses: &files},
			},
			Services: []status.Service{{Service: "search", State: "paused", Restarts: 3, LastExit: "secret-exit", NextStart: time.Now().Add(5 * time.Second)}},
			Cron: []status.Job{{Job: "report", Schedule: "secret-schedule", Next: began.Add(time.Hour), Runs: 5, Failures: 1, LastRun: began, LastSeconds: 1.2e9,
				LastExit: "secret-exit"}},
		}
	}
}

func statusPage(show string) *apps.StatusPage {
	page := &apps.StatusPage{Show: show, Source: watched()}
	page.SetPace(20*time.Millisecond, 60*time.Millisecond)
	return page
}

func TestStatusPageFiles(t *testing.T) {
	client := pagitest.Start(t, statusPage(""))
	for path, contentType := range map[string]string{
		"/": "text/html; charset=utf-8", "/page.js": "text/javascript; charset=utf-8", "/page.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
		"/uplot.js": "text/javascript; charset=utf-8", "/uplot.css": "text/css; charset=utf-8", "/uplot-licence": "text/plain; charset=utf-8",
	} {
		res := client.Get(path)
		if res.Status != 200 || res.Header("content-type") != contentType || res.Header("x-content-type-options") != "nosniff" ||
			!strings.HasPrefix(res.Header("content-security-policy"), "default-src 'self';") || res.Text() == "" {
			t.Errorf("%s: %d %v", path, res.Status, res.Headers)
		}
		again := client.Get(path, pagitest.Header("if-none-match", res.Header("etag")))
		if again.Status != 304 || again.Text() != "" {
			t.Errorf("%s, which the client has: %d", path, again.Status)
		}
	}
	for path, want := range map[string]int{"/events": 406, "/README.md": 404, "/uplot/uplot.js": 404, "/../status_page.go": 404} {
		if res := client.Get(path); res.Status != want {
			t.Errorf("%s: %d, want %d", path, res.Status, want)
		}
	}
	if res := client.Post("/"); res.Status != 405 || res.Header("allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", res.Status, res.Headers)
	}
	page := client.Get("/").Text()
	for _, inline := range []string{"<style", "style=", "onload=", "javascript:", "http://", "https://"} {
		if strings.Contains(page, inline) {
			t.Errorf("the page has %q", inline)
		}
	}
	mounted := pagitest.Start(t, &apps.URLMap{Mounts: []apps.Mount{{Path: "/status", App: statusPage("")}}})
	if res := mounted.Get("/status"); res.Status != 301 || res.Header("location") != "status/" {
		t.Errorf("without the slash: %d %v", res.Status, res.Headers)
	}
}

func TestStatusPageEvents(t *testing.T) {
	for show, processes := range map[string]int{"": 2, "all": 2, "mounts": 0} {
		stream := pagitest.Start(t, statusPage(show)).Events("/events")
		seen := map[string]int{}
		var order []string
		for seen["view"] < 5 || seen["point"] < 2 {
			event, ok := stream.Next()
			if !ok {
				t.Fatal("the stream has ended")
			}
			if seen[event.Event]++; seen[event.Event] == 1 {
				order = append(order, event.Event)
			}
			for _, secret := range []string{"secret", "password", "/srv"} {
				if strings.Contains(event.Data, secret) {
					t.Errorf("%s is told: %s", secret, event.Data)
				}
			}
			switch event.Event {
			case "history":
				var points []vitals.Point
				if err := json.Unmarshal([]byte(event.Data), &points); err != nil || points == nil {
					t.Errorf("%s: %v", event.Data, err)
				}
			case "point":
				var p vitals.Point
				if err := json.Unmarshal([]byte(event.Data), &p); err != nil || p.Rate <= 0 || p.P50 == nil || *p.P50 <= 0 || p.Memory == 0 {
					t.Errorf("%s: %v", event.Data, err)
				}
			case "view":
				var v vitals.View
				if err := json.Unmarshal([]byte(event.Data), &v); err != nil {
					t.Fatal(err)
				}
				if shop := v.Mounts[0]; v.PID != 4711 || len(v.Mounts) != 3 || shop.Mount != "/shop" || len(shop.Processes) != processes ||
					len(v.Services) != min(processes, 1) || len(v.Jobs) != min(processes, 1) || v.Mounts[1].State != "drained" {
					t.Errorf("%s", event.Data)
				}
			default:
				t.Errorf("event %q", event.Event)
			}
		}
		if order[0] != "history" || !slices.Contains(order, "view") {
			t.Errorf("the events come in the order %v", order)
		}
		stream.Disconnect(pagi.ReasonClientClosed)
		if err := stream.Finish().Err; err != nil {
			t.Error(err)
		}
	}
}

func TestStatusPageIsBounded(t *testing.T) {
	client := pagitest.Start(t, statusPage(""))
	var streams []*pagitest.EventStream
	for range vitals.MostWatchers {
		stream := client.Events("/events")
		if event, ok := stream.Next(); !ok || event.Event != "history" {
			t.Fatalf("%+v", event)
		}
		streams = append(streams, stream)
	}
	if res := client.Events("/events").Finish(); res.Status != 503 || res.Header("retry-after") == "" {
		t.Errorf("one more: %d %v", res.Status, res.Headers)
	}
	for _, stream := range streams {
		stream.Disconnect(pagi.ReasonClientClosed)
		stream.Finish()
	}
	if event, ok := client.Events("/events").Next(); !ok || event.Event != "history" {
		t.Errorf("after they have left: %+v", event)
	}
}

func TestStatusPageOptions(t *testing.T) {
	for want, page := range map[string]*apps.StatusPage{
		`show: must be all or mounts, is "some"`: {Show: "some", Source: watched()},
		"there is no gateway to look at":         {},
	} {
		if err := page.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A browser shows the page: plots appear, rows change, and nothing of a client is markup.
func TestStatusPageInABrowser(t *testing.T) {
	s := &server.Server{App: &apps.URLMap{Mounts: []apps.Mount{{Path: "/status", App: statusPage("")}}}, Listen: []string{"127.0.0.1:0"}, Logger: new(testkit.Log).Logger()}
	addrs := make(chan []net.Addr, 1)
	s.Ready = func(a []net.Addr) error { addrs <- a; return nil }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := testkit.Await(t, ended); err != nil {
			t.Error(err)
		}
	})
	address := testkit.Await(t, addrs)[0].String()
	b := browser.Start(t)
	tab := b.Open(t, "http://"+address+"/status")

	tab.WaitFor("a row for each mount", "document.querySelectorAll('#mounts tbody tr').length === 3")
	tab.WaitFor("five plots", "document.querySelectorAll('#plots .uplot canvas').length === 5")
	painted := `[...document.querySelectorAll('#plots canvas')].every(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0))`
	tab.WaitFor("paint in each plot", painted)
	served := "document.querySelector('#mounts tbody tr td:nth-child(8)').textContent"
	before := tab.Eval(served)
	tab.WaitFor("another number", served+" !== '"+before+"'")
	tab.WaitFor("a rate", "/^[0-9.]+( k)?$/.test(document.querySelector('#mounts tbody tr td:nth-child(3)').textContent)")
	tab.WaitFor("a row for the service and one for the job", "document.querySelector('#beside tbody').innerText.includes('search service') && "+
		"document.querySelector('#beside tbody').innerText.includes('report job\\twaiting\\t')")
	path := tab.Eval("document.querySelector('#processes .path').textContent")
	if !strings.HasPrefix(path, "GET /shop/"+markup) {
		t.Errorf("the path is shown as %q", path)
	}
	if tab.Eval("document.title") != "Gateway status" || tab.Eval("document.querySelectorAll('#processes img, #processes script, #processes b').length") != "0" {
		t.Error("the markup of a client is in the page")
	}
	for _, dark := range []bool{false, true} {
		tab.Dark(dark)
		name := map[bool]string{false: "light", true: "dark"}[dark]
		for size, pixels := range map[string][2]int{"desktop": {1280, 900}, "phone": {390, 844}} {
			tab.Size(pixels[0], pixels[1])
			tab.WaitFor("plots within the page", "[...document.querySelectorAll('.uplot')].every(p => p.getBoundingClientRect().right <= innerWidth)")
			if wide := tab.Eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
				t.Errorf("the page is wider than %d pixels", pixels[0])
			}
			tab.Shot("status-" + size + "-" + name)
		}
	}
	if told := tab.Console(); len(told) > 0 {
		t.Errorf("the browser says: %q", told)
	}
}
