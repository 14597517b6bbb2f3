package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// soakApp does a bit of everything.
const soakApp = `
my $page  = join '', map { "line $_ of a page\n" } 1 .. 2000;
my $block = 'x' x 65536;
sub {
	my $e = shift;
	my $p = $e->{PATH_INFO};
	if ($p eq '/form') {
		my $n = 0;
		while (my $got = read $e->{'psgi.input'}, my $buffer, 65536) { $n += $got }
		return [200, ['Content-Type' => 'text/plain'], ["$n bytes"]];
	}
	return [200, ['Content-Type' => 'text/plain'], [$page]] if $p eq '/page';
	return sub {
		my $w = $_[0]->([200, ['Content-Type' => 'text/plain']]);
		$w->write($block) for 1 .. 20;
		$w->close;
	} if $p eq '/stream';
	if ($p eq '/warn') { $e->{'psgi.errors'}->print("a line for the log\n"); warn "and a warning\n" }
	die { code => 42 } if $p eq '/die';
	kill KILL => $$ if $p eq '/crash';
	select undef, undef, undef, 0.02 if $p eq '/work';
	return [200, ['Content-Type' => 'text/plain'], ['Hello World']];
}
`

func post(path string, size int) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s", path, size, strings.Repeat("x", size))
}

// soakOrders are what its clients send, with how often.
var soakOrders = []struct {
	weight int
	order
}{
	{400, order{kind: "GET", request: get("/")}},
	{200, order{kind: "page", request: get("/page")}},
	{100, order{kind: "POST", request: post("/form", 2000)}},
	{20, order{kind: "POST of 300 KB", request: post("/form", 300_000)}},
	{20, order{kind: "stream", request: get("/stream")}},
	{20, order{kind: "aborted", request: get("/stream"), manner: leaves}},
	{10, order{kind: "slow reader", request: get("/stream"), manner: slow}},
	{10, order{kind: "slow sender", request: post("/form", 500), manner: drips}},
	{20, order{kind: "work", request: get("/work")}},
	{10, order{kind: "warning", request: get("/warn")}},
	{10, order{kind: "exception", request: get("/die"), status: 500}},
	{1, order{kind: "crash", request: post("/crash", 0), status: 502}},
	{50, order{kind: "GET after a pause", request: get("/"), pause: 250 * time.Millisecond}},
}

// soakRest is the part of each minute in which the clients do nothing.
const soakRest = 10 * time.Second

// sample is what was seen in one second.
type sample struct {
	at      time.Duration
	gateway usage
	worker  usage // the mean of the workers
}

type usage struct {
	rss float64 // MiB
	fds float64
}

const soakPlot = "docs/soak.svg"

// soak runs a mixed load and looks at memory and descriptors once a second; both
// must be flat.
func (b *bench) soak() error {
	app, err := b.write("soak.psgi", soakApp)
	if err != nil {
		return err
	}
	total := newTally()
	var samples []sample
	err = b.serve(ours, setup{app: app, workers: b.workers}, func(url string, processes []*exec.Cmd) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds)*time.Second)
		defer cancel()
		sampled := make(chan error, 1)
		go func() {
			var err error
			samples, err = observe(ctx, processes[0].Process.Pid)
			if err != nil {
				cancel()
			}
			sampled <- err
		}()
		for ctx.Err() == nil {
			busy, done := context.WithTimeout(ctx, time.Minute-soakRest)
			total.add(generate(busy, strings.TrimPrefix(url, "http://"), b.conns, soakPlan))
			done()
			select {
			case <-ctx.Done():
			case <-time.After(soakRest):
			}
		}
		return <-sampled
	})
	if err != nil {
		return err
	}
	return b.soakReport(total, samples)
}

func soakPlan(random *rand.Rand) order {
	sum := 0
	for _, o := range soakOrders {
		sum += o.weight
	}
	n := random.IntN(sum)
	for _, o := range soakOrders {
		if n -= o.weight; n < 0 {
			return o.order
		}
	}
	panic("unreachable")
}

// observe takes samples until ctx ends.
func observe(ctx context.Context, gateway int) (samples []sample, err error) {
	begun := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return samples, nil
		case <-ticker.C:
		}
		s := sample{at: time.Since(begun)}
		if s.gateway, err = usageOf(gateway); err != nil {
			return samples, err
		}
		pids, err := workersOf(gateway)
		if err != nil {
			return samples, err
		}
		n := 0.0
		for _, pid := range pids {
			u, err := usageOf(pid)
			if err != nil {
				continue // it has just been killed
			}
			s.worker.rss, s.worker.fds = s.worker.rss+u.rss, s.worker.fds+u.fds
			n++
		}
		if n > 0 {
			s.worker.rss, s.worker.fds = s.worker.rss/n, s.worker.fds/n
			samples = append(samples, s)
		}
	}
}

func usageOf(pid int) (u usage, err error) {
	rss, err := kilobytes(pid, "status", "VmRSS")
	if err != nil {
		return u, err
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return usage{float64(rss) / (1 << 20), float64(len(fds))}, err
}

// curve is one of the things observed.
type curve struct {
	name, unit string
	value      func(sample) float64
	// slack is how much more the second half may have than the first, besides a
	// twentieth.
	slack float64
}

var soakCurves = []curve{
	{"gateway, RSS", "MiB", func(s sample) float64 { return s.gateway.rss }, 2},
	{"worker, RSS (mean)", "MiB", func(s sample) float64 { return s.worker.rss }, 1},
	{"gateway, descriptors", "", func(s sample) float64 { return s.gateway.fds }, 4},
	{"worker, descriptors (mean)", "", func(s sample) float64 { return s.worker.fds }, 0.5},
}

func (b *bench) soakReport(total *tally, samples []sample) error {
	if len(samples) < 4 {
		return fmt.Errorf("%d samples are too few; run it longer (-s)", len(samples))
	}
	fmt.Printf("%d s, %d connections, %d workers; each minute ends with a rest of %v\n\n", b.seconds, b.conns, b.workers, soakRest)
	b.unrestTable(total)
	fmt.Println("\n| | first half: min | median | max | second half: min | median | max | |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
	half := len(samples) / 2
	for _, c := range soakCurves {
		fmt.Printf("| %s |", strings.TrimSuffix(c.name+" "+c.unit, " "))
		for _, part := range [][]sample{samples[:half], samples[half:]} {
			values := make([]float64, len(part))
			for i, s := range part {
				values[i] = c.value(s)
			}
			fmt.Printf(" %.1f | %.1f | %.1f |", slices.Min(values), median(values, func(x float64) float64 { return x }), slices.Max(values))
		}
		verdict := "flat"
		if before, after := median(samples[:half], c.value), median(samples[half:], c.value); after > before*1.05+c.slack {
			verdict = "**not flat**"
		}
		fmt.Printf(" %s |\n", verdict)
	}
	if err := os.WriteFile(soakPlot, plot(soakCurves, samples), 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%s shows the curves.\n", soakPlot)
	return nil
}
