package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// guestsArrival is how long guests may take to be served once.
const guestsArrival = 3 * time.Second

// guests are clients that ask once and keep their connection.
type guests struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	served int
	gone   int  // whose connection the server has closed
	left   bool // they have been told to leave
}

// newGuests returns when all of so many guests have been answered, or guestsArrival is over.
func newGuests(address string, number int) *guests {
	g := &guests{}
	ctx, cancel := context.WithTimeout(context.Background(), guestsArrival)
	defer cancel()
	for range number {
		g.wg.Go(func() { g.visit(ctx, address) })
	}
	for ctx.Err() == nil && g.answered() < number {
		time.Sleep(10 * time.Millisecond)
	}
	return g
}

// visit asks once and then waits for the connection's end. A connection that is not
// even taken before ctx ends is given up.
func (g *guests) visit(ctx context.Context, address string) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.conns = append(g.conns, conn)
	g.mu.Unlock()
	if _, err := conn.Write(get("/")); err != nil {
		return
	}
	in := bufio.NewReader(conn)
	head, err := readHead(in)
	if err != nil || head.skipBody(in, false) != nil {
		return // it has not been served
	}
	g.mu.Lock()
	g.served++
	g.mu.Unlock()
	_, _ = io.Copy(io.Discard, in) // until either side closes
	g.mu.Lock()
	if !g.left {
		g.gone++
	}
	g.mu.Unlock()
}

func (g *guests) answered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.served
}

// leave closes all connections and returns how many had been answered, and how many of these the server had closed.
func (g *guests) leave() (served, gone int) {
	g.mu.Lock()
	g.left = true
	for _, conn := range g.conns {
		_ = conn.Close() // nothing is expected from it any more
	}
	g.mu.Unlock()
	g.wg.Wait()
	return g.served, g.gone
}

// entertain has so many guests come. The function it returns ends them, and fails unless all have been answered and have
// stayed until then.
func entertain(address string, number int) (leave func() error) {
	g := newGuests(address, number)
	return func() error {
		if served, gone := g.leave(); served != number || gone > 0 {
			return fmt.Errorf("of %d idle connections %d were answered, and the server closed %d", number, served, gone)
		}
		return nil
	}
}
