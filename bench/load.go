package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// The load generator has keep-alive connections. Each sends the requests of a plan, one after
// another, and notes how long each answer took and whether it was good. Unlike wrk it can tell
// kinds of requests apart, and it can behave badly.

// order is a request to be sent.
type order struct {
	kind    string // the key of its latencies and failures
	request []byte // as it is on the wire
	status  int    // that a good answer has; 0 means any below 400
	manner  manner
	pause   time.Duration // before it
}

// manner is how the client behaves.
type manner int

const (
	polite manner = iota
	leaves        // closes its connection when the answer has begun
	slow          // takes 64 KiB of the answer every 20 ms
	drips         // sends its request in pieces
)

// plan returns the next request of a client.
type plan func(random *rand.Rand) order

// answerLimit is how long an answer may take until it counts as hanging.
const answerLimit = 10 * time.Second

// tally is the result of a load.
type tally struct {
	took   map[string][]time.Duration // of the good answers, by kind
	failed map[string]int             // by kind and what went wrong
	whole  time.Duration
}

func newTally() *tally { return &tally{took: map[string][]time.Duration{}, failed: map[string]int{}} }

func (t *tally) add(other *tally) {
	for kind, list := range other.took {
		t.took[kind] = append(t.took[kind], list...)
	}
	for what, n := range other.failed {
		t.failed[what] += n
	}
}

// failures is how many requests failed.
func (t *tally) failures() (n int) {
	for _, count := range t.failed {
		n += count
	}
	return n
}

// requests is how many were sent.
func (t *tally) requests() int {
	n := t.failures()
	for _, list := range t.took {
		n += len(list)
	}
	return n
}

// percentile returns how long the given part of the answers of a kind took at most.
func (t *tally) percentile(kind string, part float64) time.Duration {
	list := t.took[kind]
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(part*float64(len(list))), len(list)-1)]
}

// generate runs clients until ctx ends; each finishes the request it has.
func generate(ctx context.Context, address string, clients int, next plan) *tally {
	begun := time.Now()
	tallies := make([]*tally, clients)
	var wg sync.WaitGroup
	for i := range clients {
		tallies[i] = newTally()
		wg.Go(func() {
			c := client{address: address, random: rand.New(rand.NewPCG(20, uint64(i)))}
			defer c.close()
			for ctx.Err() == nil {
				o := next(c.random)
				if o.pause > 0 {
					select {
					case <-ctx.Done():
						return
					case <-time.After(o.pause):
					}
				}
				start := time.Now()
				if err := c.do(&o); err != nil {
					tallies[i].failed[o.kind+": "+describe(err)]++
					c.close()
					time.Sleep(time.Millisecond) // a pause, so that a server that refuses is not flooded
					continue
				}
				tallies[i].took[o.kind] = append(tallies[i].took[o.kind], time.Since(start))
			}
		})
	}
	wg.Wait()
	total := newTally()
	for _, t := range tallies {
		total.add(t)
	}
	total.whole = time.Since(begun)
	return total
}

// statusError is an answer of another status than the wanted one.
type statusError int

func (e statusError) Error() string { return "status " + strconv.Itoa(int(e)) }

// describe sorts errors into a few kinds.
func describe(err error) string {
	var status statusError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in " + answerLimit.String()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed too early"
	}
	return err.Error()
}

// client is one connection, opened when it is needed.
type client struct {
	address string
	random  *rand.Rand
	conn    net.Conn
	in      *bufio.Reader
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is expected from it any more
		c.conn = nil
	}
}

// do sends one request and reads the answer.
func (c *client) do(o *order) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, answerLimit)
		if err != nil {
			return err
		}
		c.conn = conn
		if c.in == nil {
			c.in = bufio.NewReaderSize(conn, 64<<10)
		}
		c.in.Reset(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	if err := c.send(o); err != nil {
		return err
	}
	head, err := readHead(c.in)
	if err != nil {
		return err
	}
	if o.manner == leaves {
		c.close()
	} else {
		if err := head.skipBody(c.in, o.manner == slow); err != nil {
			return err
		}
		if head.closes {
			c.close()
		}
	}
	if o.status == 0 && head.status >= 400 || o.status != 0 && head.status != o.status {
		return statusError(head.status)
	}
	return nil
}

func (c *client) send(o *order) error {
	if o.manner != drips {
		_, err := c.conn.Write(o.request)
		return err
	}
	for rest := o.request; len(rest) > 0; {
		n := min(len(rest), 1+len(o.request)/5)
		if _, err := c.conn.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
