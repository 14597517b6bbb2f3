// Command bench starts pagi-bridge and its peers on this machine and measures them in turn, so that
// all compared figures come from the same minutes. It prints Markdown; docs/benchmarks.md keeps the
// last tables.
//
//	go run ./bench hello       throughput and latency of a small PSGI answer
//	go run ./bench frameworks  Dancer2 and Catalyst pages
//	go run ./bench mixed       quick requests beside slow ones
//	go run ./bench idle        the load of hello beside 1000 idle connections
//	go run ./bench aims [CASE...]  every case that has an aim, with its peer, and whether the aim is met
//	go run ./bench latency     what a request alone takes longer than a call of the application
//	go run ./bench rest        memory of the gateway and its workers at rest
//	go run ./bench kill        workers killed under load
//	go run ./bench reload      reloads under load
//	go run ./bench soak        everything at once, for long; writes docs/soak.svg
//	go run ./bench memory      the gateway's memory while large bodies pass through
//	go run ./bench slow        a fast client beside hundreds of slow ones
//	go run ./bench slowloris   a fast client beside 1000 that never finish their request
//	go run ./bench tls         TLS handshakes per second
//	go run ./bench preload     the memory that is saved when workers are forked
//	go run ./bench cgi         CGI scripts: shell, Perl, Perl with CGI.pm
//	go run ./bench cgi-fast    Perl scripts that are compiled once, against each other's ways
//	go run ./bench cgi-large   500 MB into CGI scripts and out of them
//	go run ./bench cgi-slow    300 clients of a script that sleeps, beside others
//	go run ./bench native      Go applications, and files
//	go run ./bench middleware  gzip beside nginx's, and reverse_proxy behind nginx
//	go run ./bench proxy       a small answer through the proxy, and through nginx
//	go run ./bench proxy-ws    echoed messages through the proxy, and through nginx
//	go run ./bench shadow      an application with and without a shadow that copies a tenth of the requests
//	go run ./bench sse         one event to 5000 clients
//	go run ./bench slowhttp    a normal client beside each attack of slowhttptest
//	go run ./bench websocket   echoed messages, and memory of 10,000 WebSockets at rest
//	go run ./bench pagi        PAGI in Perl: a small answer and echoed messages, beside the reference servers
//	go run ./bench pagi-sse    PAGI in Perl: an event each second to 2000 clients
//	go run ./bench pagi-slow   PAGI in Perl: the memory of both sides while one does not read
//	go run ./bench compare REV [CASE...]  the working tree beside a revision, in turn
//	go run ./bench overhead    what a site loses by middleware, mounts, routes, metrics, and more workers
//	go run ./bench profile     record the profile the compiler optimises by
//
// It needs Linux, wrk, and of the peers those that are to be compared: nginx, uwsgi
// with its psgi plugin, starman, apache2 with mod_perl, feersum, lighttpd, fcgiwrap; one that is missing is
// left out. The reference servers of PAGI are found by PAGI_REFERENCE (a checkout of 0.001006) and PAGI_NEWEST (a directory with
// checkouts of pagi, PAGI-Server and PAGI-Tools). Everything listens on 127.0.0.1.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// options are the flags of the command line.
type options struct {
	rounds   int
	seconds  int
	conns    int
	workers  int
	binary   string
	contests []string
	json     string
	// failBelow is the ratio below which compare fails; 0: it does not.
	failBelow float64
}

// bench has the options and files of a benchmark.
type bench struct {
	options
	dir    string // for sockets, configurations and applications
	tree   string // where the module's source is; "" means here
	binary string // pagi-bridge
	name   string // of the benchmark
	args   []string
	report *report
}

// benchmarks are the benchmarks by name, each with how many seconds a run takes unless --seconds is
// given.
var benchmarks = map[string]struct {
	run     func(*bench) error
	seconds int
}{
	"hello":      {(*bench).hello, 4},
	"frameworks": {(*bench).frameworks, 4},
	"mixed":      {(*bench).mixed, 10},
	"idle":       {(*bench).idle, 4},
	"aims":       {(*bench).aims, 1},
	"latency":    {(*bench).latency, 4},
	"rest":       {(*bench).rest, 1},
	"kill":       {(*bench).kill, 60},
	"reload":     {(*bench).reload, 60},
	"soak":       {(*bench).soak, 900},
	"memory":     {(*bench).memory, 0},
	"slow":       {(*bench).slow, 4},
	"preload":    {(*bench).preload, 0},
	"cgi":        {(*bench).cgi, 4},
	"cgi-fast":   {(*bench).cgiFast, 4},
	"cgi-large":  {(*bench).cgiLarge, 0},
	"cgi-slow":   {(*bench).cgiSlow, 8},
	"native":     {(*bench).native, 4},
	"middleware": {(*bench).middleware, 4},
	"proxy":      {(*bench).proxy, 4},
	"proxy-ws":   {(*bench).proxyWebSocket, 4},
	"shadow":     {(*bench).shadow, 4},
	"sse":        {(*bench).sse, 0},
	"slowhttp":   {(*bench).slowHTTP, 15},
	"websocket":  {(*bench).websocket, 4},
	"profile":    {(*bench).profile, 4},
	"slowloris":  {(*bench).slowloris, 4},
	"pagi":       {(*bench).pagi, 4},
	"pagi-sse":   {(*bench).pagiSSE, 15},
	"pagi-slow":  {(*bench).pagiSlow, 30},
	"tls":        {(*bench).tls, 4},
	"overhead":   {(*bench).overhead, 3},
	"compare":    {(*bench).compare, 3},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	var o options
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.IntVarP(&o.rounds, "rounds", "n", 5, "run each contestant `N` times and print the medians")
	flags.IntVarP(&o.seconds, "seconds", "s", 0, "let each run take `SECONDS` (default: what the benchmark takes by itself)")
	flags.IntVarP(&o.conns, "connections", "c", 64, "use `N` connections")
	flags.IntVarP(&o.workers, "workers", "w", 2, "give each contestant `N` Perl workers")
	flags.StringVar(&o.binary, "binary", "", "measure the pagi-bridge at `PATH` (default: built from this tree)")
	flags.StringSliceVar(&o.contests, "only", nil, "run only the contestants in `NAMES`, comma-separated (default: all)")
	flags.StringVar(&o.json, "json", "", "also write the results to `FILE`")
	flags.Float64Var(&o.failBelow, "fail-below", 0, "with compare: fail if a case's rate is below `RATIO` in the median, and lower in every round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	benchmark, known := benchmarks[flags.Arg(0)]
	if !known || flags.NArg() != 1 && flags.Arg(0) != "compare" && flags.Arg(0) != "aims" {
		return fmt.Errorf("usage: go run ./bench [flags] BENCHMARK\n\nBenchmarks:\n  %s\n\nFlags:\n%s", strings.Join(slices.Sorted(maps.Keys(benchmarks)), "\n  "), flags.FlagUsages())
	}
	if o.seconds == 0 {
		o.seconds = benchmark.seconds
	}
	dir, err := os.MkdirTemp("", "pagi-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.RemoveAll(dir); err == nil {
			err = e
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil { // Apache reads the application as www-data
		return err
	}
	b := &bench{options: o, dir: dir, binary: o.binary, name: flags.Arg(0), args: flags.Args()[1:], report: &report{Rounds: o.rounds, Seconds: o.seconds}}
	if b.binary == "" {
		b.binary = filepath.Join(dir, "pagi-bridge")
		if err := b.build(b.binary, "./cmd/pagi-bridge"); err != nil {
			return err
		}
	}
	fmt.Printf("%d CPUs, %s, %s\n\n", runtime.NumCPU(), runtime.Version(), kernel())
	err = benchmark.run(b)
	if o.json != "" {
		err = errors.Join(err, b.report.write(o.json))
	}
	return err
}

func kernel() string {
	out, err := exec.Command("uname", "-sr").Output()
	if err != nil {
		return runtime.GOOS
	}
	return strings.TrimSpace(string(bytes.TrimSpace(out)))
}

// build compiles a command of this module.
func (b *bench) build(binary, command string) error {
	build := exec.Command("go", "build", "-o", binary, command)
	build.Dir = b.tree
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build %s: %w", command, err)
	}
	return nil
}

// write puts a file into the benchmark's directory.
func (b *bench) write(name, content string) (string, error) {
	path := filepath.Join(b.dir, name)
	return path, os.WriteFile(path, []byte(content), 0o755)
}
