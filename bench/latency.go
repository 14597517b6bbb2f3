package main

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// insideScript calls an application in a loop for some seconds and prints the median
// time of a call in microseconds.
const insideScript = `
use strict; use warnings; use Time::HiRes qw(time);
my ($file, $seconds) = @ARGV;
my $app = do $file or die $@ || $!;
my @took;
for (my $end = time + $seconds; time < $end;) {
	open my $input, '<', \'' or die $!;
	my $env = {
		REQUEST_METHOD => 'GET', SCRIPT_NAME => '', PATH_INFO => '/', REQUEST_URI => '/', QUERY_STRING => '',
		SERVER_NAME => 'bench', SERVER_PORT => 80, SERVER_PROTOCOL => 'HTTP/1.1', HTTP_HOST => 'bench',
		'psgi.version' => [1, 1], 'psgi.url_scheme' => 'http', 'psgi.input' => $input, 'psgi.errors' => \*STDERR,
		'psgi.multithread' => '', 'psgi.multiprocess' => 1, 'psgi.run_once' => '', 'psgi.streaming' => 1, 'psgi.nonblocking' => '',
	};
	my $begun = time;
	$app->($env);
	push @took, time - $begun;
}
@took = sort { $a <=> $b } @took;
printf "%.1f\n", 1e6 * $took[@took / 2];
`

// latency measures one request at a time through the gateway, and the part of that time that the
// application takes.
func (b *bench) latency() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	script, err := b.write("inside.pl", insideScript)
	if err != nil {
		return err
	}
	type pair struct{ inside, through time.Duration }
	bouts, err := b.those([]bout{
		{contestant: ours, app: app, workers: b.workers},
		{contestant: starman, app: app, workers: b.workers},
		{contestant: nginxUWSGI, app: app, workers: b.workers},
		{contestant: bareGo},
	})
	if err != nil {
		return err
	}
	results, err := rounds(b, bouts, func(_ *bout, url string, _ []*exec.Cmd) (p pair, err error) {
		out, err := exec.Command("perl", script, app, strconv.Itoa(b.seconds)).Output()
		if err != nil {
			return p, fmt.Errorf("call the application in a loop: %w", err)
		}
		us, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			return p, err
		}
		p.inside = time.Duration(us * float64(time.Microsecond))
		total := loadFor(b.seconds, 1, url, func(*rand.Rand) order { return order{kind: "GET", request: get("/")} })
		if n := total.failures(); n > 0 {
			return p, fmt.Errorf("%d requests failed: %v", n, total.failed)
		}
		p.through = total.percentile("GET", 0.5)
		return p, nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of %d s, one request at a time; medians of medians\n\n", b.rounds, b.seconds)
	fmt.Println("| | a request | a call of the application | added |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	for i, x := range bouts {
		fmt.Printf("| %s | %v | %v | %v |\n", x.title(),
			medianTime(results[i], func(p pair) time.Duration { return p.through }),
			medianTime(results[i], func(p pair) time.Duration { return p.inside }),
			medianTime(results[i], func(p pair) time.Duration { return p.through - p.inside }))
	}
	return nil
}
