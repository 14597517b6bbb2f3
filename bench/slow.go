package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const slowApp = `
my $page = 'x' x 200_000;
sub {
	my $e = shift;
	return [200, ['Content-Type' => 'text/plain'], [$page]] if $e->{PATH_INFO} eq '/page';
	return [200, ['Content-Type' => 'text/plain'], ['Hello World']];
}
`

const (
	slowReaders = 200
	slowSenders = 200
)

// slow measures a fast client alone and beside 200 clients that read a page of
// 200 KB at 1 KB/s and 200 that send a body at five bytes per second.
func (b *bench) slow() error {
	app, err := b.write("slow.psgi", slowApp)
	if err != nil {
		return err
	}
	return b.beside(fmt.Sprintf("beside %d slow clients", slowReaders+slowSenders), app, func(address string) (leave func(), err error) {
		crowd, err := newCrowd(address)
		if err != nil {
			return nil, err
		}
		return crowd.leave, nil
	})
}

// beside measures the load of an application alone and beside other clients, round by round, and
// prints both. come starts those clients against an address, and returns the function that ends
// them.
func (b *bench) beside(name, app string, come func(address string) (leave func(), err error)) error {
	var alone, beside []load
	for range b.rounds {
		err := b.serve(ours, setup{app: app, workers: b.workers}, func(url string, _ []*exec.Cmd) error {
			if _, err := b.wrk(url, b.conns, 1); err != nil { // to warm up
				return err
			}
			before, err := b.wrk(url, b.conns, b.seconds)
			if err != nil {
				return err
			}
			leave, err := come(strings.TrimPrefix(url, "http://"))
			if err != nil {
				return err
			}
			during, err := b.wrk(url, b.conns, b.seconds)
			leave()
			alone, beside = append(alone, before), append(beside, during)
			return err
		})
		if err != nil {
			return err
		}
	}
	rate := func(l load) float64 { return l.rate }
	fmt.Printf("%d rounds of %d s, wrk -t1 -c%d, %d workers; medians\n\n", b.rounds, b.seconds, b.conns, b.workers)
	fmt.Println("| | requests/s | p99 | errors |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	for _, row := range []struct {
		name string
		list []load
	}{{"alone", alone}, {name, beside}} {
		fmt.Printf("| %s | %.0f | %v | %.0f |\n", row.name, median(row.list, rate),
			medianTime(row.list, func(l load) time.Duration { return l.p99 }),
			median(row.list, func(l load) float64 { return l.errors }))
	}
	fmt.Printf("\nbeside / alone: %.2f\n", ratio(beside, alone, rate))
	return nil
}

// crowd is a number of slow clients.
type crowd struct {
	conns []net.Conn
	quit  chan struct{}
	wg    sync.WaitGroup
}

func newCrowd(address string) (*crowd, error) {
	c := &crowd{quit: make(chan struct{})}
	for i := range slowReaders + slowSenders {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			c.leave()
			return nil, err
		}
		c.conns = append(c.conns, conn)
		if i < slowReaders {
			// With a larger window the kernel would take the page at once.
			if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				c.leave()
				return nil, err
			}
			_, err = io.WriteString(conn, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
			c.wg.Go(func() {
				c.tick(time.Second, func() error { _, err := io.CopyN(io.Discard, conn, 1024); return err })
			})
		} else {
			_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
			c.wg.Go(func() {
				c.tick(time.Second, func() error { _, err := io.WriteString(conn, "abcde"); return err })
			})
		}
		if err != nil {
			c.leave()
			return nil, err
		}
	}
	return c, nil
}

func (c *crowd) tick(every time.Duration, do func() error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-ticker.C:
			if do() != nil {
				return
			}
		}
	}
}

// leave closes all connections and waits for the clients to end.
func (c *crowd) leave() {
	close(c.quit)
	for _, conn := range c.conns {
		_ = conn.Close() // nothing is expected from it any more
	}
	c.wg.Wait()
}
