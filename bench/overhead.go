package main

import (
	"fmt"
	"os/exec"
	"strings"
)

// extra is something that a site has beside its application. site is its site file without the address; APP stands for the
// application with its options.
type extra struct {
	title string
	site  string
	flags []string // instead of a site file
}

const plainSite = "mounts:\n  - {path: /, APP}\n"

// tenMiddleware are those of a typical site.
const tenMiddleware = `middleware:
  - reverse_proxy
  - request_id
  - security_headers
  - headers: {response: {set: {x-served-by: bench}}}
  - cors: {origins: ["https://example.com"]}
  - gzip
  - head
  - healthcheck
  - conditional_get
  - etag
`

var (
	withMiddleware = extra{title: "ten middleware", site: tenMiddleware + plainSite}
	withMounts     = extra{title: "63 more mounts", site: plainSite + numbered(63, "  - {path: /section-%d, not_found: {}}\n")}
	withRoutes     = extra{title: "999 more routes", site: "mounts:\n  - path: /\n    router:\n      - {path: /, APP}\n" +
		numbered(999, "      - {path: '/section-%d/{id}', not_found: {}}\n")}
)

// extras are what overhead measures.
var extras = []extra{
	{title: "metrics and a status page", site: plainSite + "  - {path: /metrics, metrics: all}\n  - {path: /status, status_page: all}\n"},
	withMiddleware,
	withMounts,
	withRoutes,
	{title: "5 workers", flags: []string{"-w", "5"}},
	{title: "20 workers", flags: []string{"-w", "20"}},
}

// numbered returns so many lines of a form that holds their number.
func numbered(n int, form string) string {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, form, i)
	}
	return lines.String()
}

// overhead measures what a site loses by what it has beside the small PSGI answer of hello: in turn, in the order A, B, B, A.
func (b *bench) overhead() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	alone := extra{title: "the application alone", site: plainSite}.contestant()
	fmt.Printf("%d rounds of twice %d s each, wrk -t1 -c%d; medians, and in brackets the rounds' range\n\n", b.rounds, b.seconds, b.conns)
	fmt.Println("| | connections | alone | with it | rate | CPU per request |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	for _, x := range extras {
		with := x.contestant()
		if !b.isHere(with) {
			continue
		}
		both := [2]bout{
			{contestant: alone, app: app, workers: b.workers, connections: b.conns},
			{contestant: with, app: app, workers: b.workers, connections: b.conns},
		}
		results, err := abba(b.rounds, fresh(b, both, b.throughput), meanLoad)
		if err != nil {
			return fmt.Errorf("%s: %w", x.title, err)
		}
		b.duel(b.name, x.title, both, results)
		if n := sumErrors(results[1]); n > 0 {
			return fmt.Errorf("%s: %.0f requests failed", x.title, n)
		}
	}
	return nil
}

// contestant is pagi-bridge with x.
func (x extra) contestant() contestant {
	return contestant{name: x.title, start: func(b *bench, s setup) ([]*exec.Cmd, error) { return b.startExtra(s, x) }}
}

// startExtra starts pagi-bridge with two workers unless x says otherwise.
func (b *bench) startExtra(s setup, x extra) ([]*exec.Cmd, error) {
	if x.flags != nil {
		return launch(exec.Command(b.binary, append([]string{"-q", "-E", "deployment", "-l", s.address(), s.app}, x.flags...)...))
	}
	return b.launchSite(s, strings.Replace(x.site, "APP", fmt.Sprintf("psgi: %s, workers: %d", s.app, s.workers), 1))
}
