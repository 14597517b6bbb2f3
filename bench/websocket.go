package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// echoClients send messages of echoSize bytes, one after the answer to the other.
	echoClients, echoSize = 100, 125
	// restingClients say nothing.
	restingClients = 10_000
	// settling is how long a server at rest gets to give memory back that it does not
	// need any more.
	settling = 2 * time.Second
)

// websocket measures echoed messages per second, and the memory of connections on
// which nothing happens, against gorilla/websocket with nothing around it.
func (b *bench) websocket() error {
	binary := filepath.Join(b.dir, "wsecho")
	if err := b.build(binary, "./bench/wsecho"); err != nil {
		return err
	}
	kinds := []string{"gorilla", "pagi"}
	rates, sizes := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	for range b.rounds {
		for i, kind := range kinds {
			err := b.withEcho(binary, kind, func(address string, pid int) error {
				rate, err := echoes(address, time.Duration(b.seconds)*time.Second)
				rates[i] = append(rates[i], rate)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			err = b.withEcho(binary, kind, func(address string, pid int) error {
				size, err := resting(address, pid)
				sizes[i] = append(sizes[i], size)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	self := func(x float64) float64 { return x }
	fmt.Printf("%d rounds of %d s; %d clients echo %d bytes; %d clients at rest; medians\n\n", b.rounds, b.seconds, echoClients, echoSize, restingClients)
	fmt.Println("| | echoes/s | against gorilla | KiB per client at rest |")
	fmt.Println("| --- | ---: | ---: | ---: |")
	for i, kind := range kinds {
		fmt.Printf("| %s | %.0f | %.2fx | %.1f |\n", kind, median(rates[i], self), ratio(rates[i], rates[0], self), median(sizes[i], self)/1024)
	}
	return nil
}

// withEcho runs an echo server while f does.
func (b *bench) withEcho(binary, kind string, f func(address string, pid int) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil { // it is the server's now
		return err
	}
	var complaints bytes.Buffer
	cmd := exec.Command(binary, kind, address)
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill() // Wait tells nothing else
		_ = cmd.Wait()
	}()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close() // it was only to see whether somebody is there
			break
		}
		if time.Since(begin) > 10*time.Second {
			return fmt.Errorf("it does not listen: %w: %s", err, complaints.String())
		}
	}
	return f(address, cmd.Process.Pid)
}

// echoes returns how many messages per second come back.
func echoes(address string, d time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var count atomic.Int64
	failures := make(chan error, echoClients)
	var clients sync.WaitGroup
	begin := time.Now()
	for range echoClients {
		clients.Go(func() {
			if err := echoOne(ctx, address, &count); err != nil {
				failures <- err
			}
		})
	}
	clients.Wait()
	select {
	case err := <-failures:
		return 0, err
	default:
		return float64(count.Load()) / time.Since(begin).Seconds(), nil
	}
}

func echoOne(ctx context.Context, address string, count *atomic.Int64) error {
	c, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+address+"/", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	message := []byte(strings.Repeat("x", echoSize))
	for ctx.Err() == nil {
		if err := c.WriteMessage(websocket.TextMessage, message); err != nil {
			return err
		}
		if _, got, err := c.ReadMessage(); err != nil || !bytes.Equal(got, message) {
			return fmt.Errorf("got %q, %w", got, err)
		}
		count.Add(1)
	}
	return nil
}

// resting returns how many bytes the server's memory grows by per client that has
// been accepted and says nothing.
func resting(address string, pid int) (float64, error) {
	before, err := kilobytes(pid, "status", "VmRSS")
	if err != nil {
		return 0, err
	}
	dialer := websocket.Dialer{ReadBufferSize: 256, WriteBufferSize: 256}
	for range restingClients {
		c, _, err := dialer.Dial("ws://"+address+"/", nil)
		if err != nil {
			return 0, err
		}
		defer c.Close()
	}
	time.Sleep(settling)
	after, err := kilobytes(pid, "status", "VmRSS")
	return float64(after-before) / restingClients, err
}
