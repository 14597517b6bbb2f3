package command

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestWatchdogIsServedInTime: the gateway tells the watchdog at half the interval, and only after
// the gateway's own check has returned.
func TestWatchdogIsServedInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const interval = 4 * time.Second
	ctx, cancel := context.WithCancel(t.Context())
	asked, answer := make(chan struct{}), make(chan struct{})
	var served sync.WaitGroup
	begin := time.Now()
	served.Go(func() {
		newManager(slog.New(slog.NewTextHandler(t.Output(), nil)), lookupIn([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=4000000"})).keepAlive(ctx, func() {
			select {
			case asked <- struct{}{}:
				<-answer
			case <-ctx.Done():
			}
		})
	})
	defer served.Wait()
	defer cancel()
	<-asked
	if took := time.Since(begin); took >= interval {
		t.Errorf("it was asked after %v", took)
	}
	told := make(chan string, 1)
	go func() {
		buf := make([]byte, 100)
		n, _ := conn.Read(buf) // what is missing is told below
		told <- string(buf[:n])
	}()
	select {
	case text := <-told:
		t.Errorf("%q before the gateway has answered", text)
	case <-time.After(100 * time.Millisecond):
	}
	close(answer)
	if text := <-told; text != "WATCHDOG=1" {
		t.Errorf("%q", text)
	}
}

// TestWhatSystemdTellsOfTheWatchdog: the variables may be meant for another process.
func TestWhatSystemdTellsOfTheWatchdog(t *testing.T) {
	own := "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		environ []string
		want    time.Duration
	}{
		{nil, 0},
		{[]string{"WATCHDOG_USEC=2500000"}, 2500 * time.Millisecond},
		{[]string{"WATCHDOG_USEC=2500000", own}, 2500 * time.Millisecond},
		{[]string{"WATCHDOG_USEC=2500000", "WATCHDOG_PID=1"}, 0},
		{[]string{"WATCHDOG_USEC=soon"}, 0},
		{[]string{"WATCHDOG_USEC=-1"}, 0},
	} {
		if got := newManager(slog.New(slog.DiscardHandler), lookupIn(c.environ)).watchdog; got != c.want {
			t.Errorf("%q: %v", c.environ, got)
		}
	}
}

// TestASystemdThatDoesNotListenIsNotWaitedFor: the queue of systemd's socket is full.
func TestASystemdThatDoesNotListenIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for err == nil {
		err = notifySocket(path, "x")
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
