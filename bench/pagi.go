package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// pagiApp is an application of PAGI in Perl: a small answer, an echo, an event each second, and endless ways in both directions.
const pagiApp = `use strict; use warnings;
use Future::AsyncAwait; use IO::Async::Loop; use Time::HiRes qw(time);
my $loop  = IO::Async::Loop->new;
my $piece = 'x';
$piece x= 65536;
async sub app {
	my ($scope, $receive, $send) = @_;
	my ($type, $path) = @$scope{qw(type path)};
	if ($type eq 'http') {
		await $send->({ type => 'http.response.start', status => 200, headers => [['content-type', 'text/plain']] });
		while ($path eq '/pour') { await $send->({ type => 'http.response.body', body => $piece, more => 1 }) }
		return await $send->({ type => 'http.response.body', body => 'Hello World' });
	}
	if ($type eq 'sse') {
		await $send->({ type => 'sse.start' });
		for (my $next = time + rand; ; $next++) {
			await $loop->delay_future(at => $next);
			await $send->({ type => 'sse.send', data => $next });
		}
	}
	if ($type eq 'websocket') {
		await $receive->();
		await $send->({ type => 'websocket.accept' });
		await $loop->new_future if $path eq '/deaf';
		while (1) {
			my $event = await $receive->();
			return if $event->{type} eq 'websocket.disconnect';
			await $send->({ type => 'websocket.send', text => $event->{text} });
		}
	}
	die "no scope of type $type\n";
}
\&app;
`

// The reference servers, in the checkouts that these variables name: of the tag 0.001006, and a directory with the newest
// "pagi", "PAGI-Server" and "PAGI-Tools".
const (
	seedVariable   = "PAGI_REFERENCE"
	newestVariable = "PAGI_NEWEST"
)

var (
	oursPAGI   = contestant{name: "pagi-bridge", modules: []string{"IO::Async", "Future::AsyncAwait"}, start: startOurs}
	seedPAGI   = contestant{name: "PAGI 0.001006", variable: seedVariable, start: startSeed}
	newestPAGI = contestant{name: "newest PAGI", variable: newestVariable, start: startNewest}
)

func startSeed(_ *bench, s setup) ([]*exec.Cmd, error) {
	return startPAGIServer(s, os.Getenv(seedVariable), "lib")
}

func startNewest(_ *bench, s setup) ([]*exec.Cmd, error) {
	return startPAGIServer(s, filepath.Join(os.Getenv(newestVariable), "PAGI-Server"), "../pagi/lib", "../PAGI-Tools/lib", "lib")
}

// startPAGIServer starts a reference server in a directory.
func startPAGIServer(s setup, dir string, lib ...string) ([]*exec.Cmd, error) {
	var args []string
	for _, name := range lib {
		args = append(args, "-I"+name)
	}
	cmd := exec.Command("perl", append(args, "bin/pagi-server", "--app", s.app, "--port", fmt.Sprint(s.port), "--no-access-log", "--workers", fmt.Sprint(s.workers))...)
	cmd.Dir = dir
	return launch(cmd)
}

// pagiBouts returns bouts of the gateway and of the reference servers that are here.
func (b *bench) pagiBouts() ([]bout, error) {
	app, err := b.write("pagi.pl", pagiApp)
	if err != nil {
		return nil, err
	}
	bouts := []bout{{contestant: oursPAGI}, {contestant: newestPAGI}, {contestant: seedPAGI}}
	for i := range bouts {
		bouts[i].app, bouts[i].workers, bouts[i].connections = app, b.workers, b.conns
	}
	return b.those(bouts)
}

// pagi measures a PAGI application in Perl beside the reference servers: a small answer, and messages that are echoed.
func (b *bench) pagi() error {
	bouts, err := b.pagiBouts()
	if err != nil {
		return err
	}
	fmt.Printf("A small answer: %d rounds of %d s, wrk -t1; medians\n\n", b.rounds, b.seconds)
	answers, err := rounds(b, bouts, b.throughput)
	if err != nil {
		return err
	}
	b.table(bouts, answers)
	echoed, err := rounds(b, bouts, func(_ *bout, url string, _ []*exec.Cmd) (float64, error) {
		return echoes(strings.TrimPrefix(url, "http://"), time.Duration(b.seconds)*time.Second)
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%d WebSockets echo %d bytes: %d rounds of %d s, %d workers; medians\n\n", echoClients, echoSize, b.rounds, b.seconds, b.workers)
	fmt.Println("| | echoes/s | pagi-bridge against it |")
	fmt.Println("| --- | ---: | ---: |")
	for i, x := range bouts {
		fmt.Printf("| %s | %.0f | %.2fx |\n", x.title(), median(echoed[i], itself), ratio(echoed[0], echoed[i], itself))
	}
	return nil
}

const (
	// tickers is how many clients have a stream with an event each second.
	tickers = 2000
	// warmTime is how long streams are open before their events count.
	warmTime = 2 * time.Second
)

// pagiSSE measures how late events are that a PAGI application in Perl sends to many clients each second.
func (b *bench) pagiSSE() error {
	bouts, err := b.pagiBouts()
	if err != nil {
		return err
	}
	fmt.Printf("%d event streams with an event each second, for %d s, %d workers\n\n", tickers, b.seconds, b.workers)
	fmt.Println("| | events | late: p50 | p99 | worst | memory of the server's first process |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	for _, x := range bouts {
		err := b.serve(x.contestant, setup{app: x.app, workers: x.workers}, func(url string, processes []*exec.Cmd) error {
			late, err := lateness(strings.TrimPrefix(url, "http://"), time.Duration(b.seconds)*time.Second)
			if err != nil {
				return err
			}
			memory, err := kilobytes(processes[0].Process.Pid, "status", "VmRSS")
			if err != nil {
				return err
			}
			slices.Sort(late)
			at := func(part float64) time.Duration { return round(late[int(part*float64(len(late)-1))]) }
			fmt.Printf("| %s | %d | %v | %v | %v | %d MB |\n", x.title(), len(late), at(0.5), at(0.99), at(1), memory>>20)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", x.title(), err)
		}
	}
	return nil
}

// lateness returns how late the events of the streams are, from warmTime on.
func lateness(address string, d time.Duration) (late []time.Duration, err error) {
	var mu sync.Mutex
	var conns []net.Conn
	var clients sync.WaitGroup
	failures := make(chan error, tickers)
	seats := make(chan struct{}, 50) // that many arrive at once
	var opened sync.WaitGroup
	opened.Add(tickers)
	end := make(chan time.Time) // closed when counting begins
	for range tickers {
		clients.Go(func() {
			seats <- struct{}{}
			conn, in, err := openStream(address)
			<-seats
			opened.Done()
			if err != nil {
				failures <- err
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return // the end, by which the connection is closed
				}
				text, is := strings.CutPrefix(line, "data: ")
				select {
				case <-end:
				default:
					continue
				}
				if !is {
					continue
				}
				due, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
				if err != nil {
					failures <- err
					return
				}
				now := float64(time.Now().UnixNano()) / 1e9
				mu.Lock()
				late = append(late, time.Duration((now-due)*1e9))
				mu.Unlock()
			}
		})
	}
	opened.Wait()
	time.Sleep(warmTime)
	close(end)
	time.Sleep(d)
	mu.Lock()
	for _, conn := range conns {
		_ = conn.Close() // nothing is expected from it any more
	}
	mu.Unlock()
	clients.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
	}
	if want := tickers * int(d/time.Second) * 9 / 10; len(late) < want {
		return nil, fmt.Errorf("%d events, at least %d are to come", len(late), want)
	}
	return late, nil
}

func openStream(address string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	if _, err = io.WriteString(conn, "GET /tick HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReaderSize(conn, 512)
	if _, err = readHead(in); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, in, nil
}

// pagiSlow measures the memory of gateway and worker while a PAGI application in Perl sends more than its client reads, and
// while a client sends more than the application receives.
func (b *bench) pagiSlow() error {
	app, err := b.write("pagi.pl", pagiApp)
	if err != nil {
		return err
	}
	fmt.Println("| | passed | gateway | worker |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	for _, way := range []struct {
		name string
		pass func(ctx context.Context, url string) (int64, error)
	}{
		{"an endless answer to a client that reads 1 MB/s", readSlowly},
		{"1 GB to a WebSocket application that receives nothing", sendToTheDeaf},
	} {
		err := b.serve(oursPAGI, setup{app: app, workers: 1}, func(url string, processes []*exec.Cmd) error {
			gateway := processes[0].Process.Pid
			workers, err := workersOf(gateway)
			if err != nil || len(workers) != 1 {
				return fmt.Errorf("workers %v, %w", workers, err)
			}
			memory := func() (list [2]int64, err error) {
				for i, pid := range []int{gateway, workers[0]} {
					if list[i], err = kilobytes(pid, "status", "VmRSS"); err != nil {
						return list, err
					}
				}
				return list, nil
			}
			before, err := memory()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b.seconds)*time.Second)
			defer cancel()
			n, err := way.pass(ctx, url)
			if err != nil {
				return err
			}
			after, err := memory()
			fmt.Printf("| %s | %d MB | %+.1f MB | %+.1f MB |\n", way.name, n>>20, float64(after[0]-before[0])/(1<<20), float64(after[1]-before[1])/(1<<20))
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
	}
	return nil
}

// readSlowly reads an endless answer at 1 MB/s until ctx ends. The connection stays open until it returns.
func readSlowly(ctx context.Context, url string) (n int64, err error) {
	res, err := http.Get(url + "/pour")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			m, err := io.CopyN(io.Discard, res.Body, 50_000)
			if n += m; err != nil {
				return n, err
			}
		case <-ctx.Done():
			return n, nil
		}
	}
}

// sendToTheDeaf sends up to 1 GB over a WebSocket whose application receives nothing, until ctx ends.
func sendToTheDeaf(ctx context.Context, url string) (n int64, err error) {
	c, _, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(url, "http")+"/deaf", nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	message := make([]byte, 64<<10)
	for n < 1<<30 {
		err := c.WriteMessage(websocket.BinaryMessage, message)
		if wait := net.Error(nil); errors.As(err, &wait) && wait.Timeout() {
			return n, nil // it waits for the application, as it should
		}
		if err != nil {
			return n, err
		}
		n += int64(len(message))
	}
	return n, nil
}
