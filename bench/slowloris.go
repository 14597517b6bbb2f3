package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	lorises = 1000
	// lorisPause is how long a slow client waits between two lines of its request, which never
	// ends.
	lorisPause = 2 * time.Second
)

// slowloris measures the load of hello alone, and beside 1000 clients that send the head of a
// request line by line for ever. A client that is cut off comes again at once.
func (b *bench) slowloris() error {
	app, err := b.write("hello.psgi", helloApp)
	if err != nil {
		return err
	}
	return b.beside(fmt.Sprintf("beside %d slow heads", lorises), app, func(address string) (leave func(), err error) {
		return newLorises(address).leave, nil
	})
}

// loris are the clients.
type loris struct {
	quit chan struct{}
	all  sync.WaitGroup
}

// newLorises starts the clients, spread over one pause, and returns when all have begun.
func newLorises(address string) *loris {
	l := &loris{quit: make(chan struct{})}
	for i := range lorises {
		l.all.Go(func() {
			if l.wait(lorisPause * time.Duration(i) / lorises) {
				l.crawl(address)
			}
		})
	}
	l.wait(lorisPause)
	return l
}

// wait waits for d. It reports whether the run goes on.
func (l *loris) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-l.quit:
		return false
	}
}

func (l *loris) crawl(address string) {
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
		}
		for err == nil {
			if !l.wait(lorisPause) {
				_ = conn.Close() // nothing is expected from it any more
				return
			}
			_, err = io.WriteString(conn, "X-Slow: 1\r\n")
		}
		if conn != nil {
			_ = conn.Close() // it was cut off
		}
		if !l.wait(lorisPause / 10) {
			return
		}
	}
}

// leave ends them.
func (l *loris) leave() {
	close(l.quit)
	l.all.Wait()
}
