package apps_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/server"
)

const (
	// clientsVariable is the number of clients of TestBroadcastReachesEveryClientSoon; 1000 by
	// default.
	clientsVariable = "PAGI_BROADCAST_CLIENTS"
	// addressVariable makes this program the clients of that test.
	addressVariable = "PAGI_BROADCAST_ADDRESS"
)

// broadcasting serves app at a Unix socket until the end of the test.
func broadcasting(t *testing.T, app pagi.App) (address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ws") // a short name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address = filepath.Join(dir, "s")
	ready, done := make(chan struct{}), make(chan error, 1)
	s := &server.Server{App: app, Socket: address, Logger: slog.New(slog.DiscardHandler), Lifespan: server.LifespanOff,
		Ready: func([]net.Addr) error { close(ready); return nil }}
	s.MaxConnections = -1
	s.ShutdownTimeout = time.Second
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return address
}

// dialSocket makes a handshake without compression.
func dialSocket(address string) (net.Conn, *bufio.Reader, error) {
	c, err := net.Dial("unix", address)
	if err != nil {
		return nil, nil, err
	}
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	r := bufio.NewReaderSize(c, 256)
	for line := " "; err == nil && line != "\r\n"; {
		if line, err = r.ReadString('\n'); strings.HasPrefix(line, "HTTP/") && !strings.Contains(line, " 101 ") {
			err = errors.New(line)
		}
	}
	return c, r, err
}

// readNumber reads a text message that begins with a number.
func readNumber(r *bufio.Reader, buffer []byte) (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, err
	}
	size := int(head[1])
	if size == 126 {
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return 0, err
		}
		size = int(binary.BigEndian.Uint16(head[2:]))
	}
	if head[0] != 0x81 || size > len(buffer) {
		return 0, fmt.Errorf("frame %x of %d bytes", head[0], size)
	}
	if _, err := io.ReadFull(r, buffer[:size]); err != nil {
		return 0, err
	}
	number, _, _ := strings.Cut(string(buffer[:size]), " ")
	return strconv.Atoi(number)
}

// broadcastClients is the program of the clients, which TestMain runs in another process. It says
// "ready N", and for each message that all have got its number and the time in nanoseconds.
func broadcastClients(address string) error {
	clients, err := strconv.Atoi(os.Getenv(clientsVariable))
	if err != nil {
		return err
	}
	got := make([]atomic.Int32, 2000)
	ended := make(chan error, clients)
	for range clients {
		_, r, err := dialSocket(address)
		if err != nil {
			return err
		}
		go func() {
			buffer := make([]byte, 256)
			for {
				n, err := readNumber(r, buffer)
				if err != nil {
					ended <- err
					return
				}
				if got[n].Add(1) == int32(clients) {
					fmt.Printf("message %d %d\n", n, time.Now().UnixNano())
				}
			}
		}()
	}
	fmt.Printf("message ready %d\n", clients)
	return <-ended
}

// TestBroadcastReachesEveryClientSoon sends to clients in another process, over Unix sockets and a
// whole server. PAGI_BROADCAST_CLIENTS=10000 makes the measurement of docs/benchmarks.md.
func TestBroadcastReachesEveryClientSoon(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	clients, rounds, soon := 1000, 150, 400*time.Millisecond
	if n, err := strconv.Atoi(os.Getenv(clientsVariable)); err == nil {
		clients, rounds = n, 1000
	}
	b := &pubsub.Memory{}
	address := broadcasting(t, &apps.WebSocketBroadcast{Feed: apps.Feed{Broker: b}})
	cmd := exec.Command(os.Args[0])
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), addressVariable+"="+address, clientsVariable+"="+strconv.Itoa(clients), "PAGITEST=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	next := func(what string) int64 {
		t.Helper()
		for lines.Scan() {
			name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "message "), " ")
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && name == what {
				return n
			}
			t.Log(lines.Text())
		}
		t.Fatalf("the clients have ended before %s", what)
		return 0
	}
	next("ready")
	subscribed(t, b, "default", clients)
	var took []time.Duration
	publish := func(n int) {
		begin := time.Now().UnixNano()
		send(t, b, "default", pubsub.Message{Data: fmt.Sprint(n, " ", strings.Repeat("x", 100))})
		took = append(took, time.Duration(next(strconv.Itoa(n))-begin))
	}
	for n := range 20 {
		publish(n)
	}
	before := heapSize()
	for n := range rounds {
		publish(20 + n)
	}
	after := heapSize()
	slices.Sort(took)
	median, last := took[len(took)/2], took[len(took)-1]
	t.Logf("%d clients: the last has a message after %v (median), %v (95 %%), %v (the worst of %d); heap %d KiB, after %d messages %d KiB",
		clients, median.Round(time.Microsecond), took[len(took)*95/100].Round(time.Microsecond), last.Round(time.Microsecond), len(took), before>>10, rounds, after>>10)
	if median > soon {
		t.Errorf("the last of %d clients has a message after %v", clients, median)
	}
	if after-before > 2<<20+before/20 {
		t.Errorf("the heap has grown from %d to %d KiB in %d messages", before>>10, after>>10, rounds)
	}
}

// TestASlowClientCostsItsBuffer has clients that never read: the heap may grow by what is allowed
// to wait for them, and no more, while another client gets all.
func TestASlowClientCostsItsBuffer(t *testing.T) {
	const (
		slow, messages, size = 20, 4000, 8 << 10 // 32 MiB, many times what may wait
		buffer               = 64 << 10
		connection           = 64<<10 + 64<<10 // the high-water mark, and the array that grows to it
	)
	b := &pubsub.Memory{}
	address := broadcasting(t, &apps.WebSocketBroadcast{Feed: apps.Feed{Broker: b, Buffer: apps.Buffer{Bytes: buffer}}})
	for range slow {
		c, _, err := dialSocket(address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, r, err := dialSocket(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	subscribed(t, b, "default", slow+1)
	before := heapSize()
	begin, text := time.Now(), make([]byte, size+100)
	for n := range messages {
		send(t, b, "default", pubsub.Message{Data: fmt.Sprint(n, " ", strings.Repeat("x", size))})
		if got, err := readNumber(r, text); err != nil || got != n {
			t.Fatalf("message %d: got %d, %v", n, got, err)
		}
	}
	grown := heapSize() - before
	t.Logf("%d clients that do not read: %d KiB for each, after %d messages of %d KiB in %v", slow, grown/slow>>10, messages, size>>10, time.Since(begin).Round(time.Millisecond))
	if most := int64(slow*(buffer+connection)) + 2<<20; grown > most {
		t.Errorf("the heap has grown by %d KiB; %d clients may cost %d", grown>>10, slow, most>>10)
	}
}

func heapSize() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
