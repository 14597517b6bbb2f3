package command

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestWatchdogIsServedInTime: at half the interval, and only by a gateway that answers
// itself.
func TestWatchdogIsServedInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const interval = 4 * time.Second
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "4000000")
	ctx, cancel := context.WithCancel(t.Context())
	asked, answer := make(chan struct{}), make(chan struct{})
	var served sync.WaitGroup
	begin := time.Now()
	served.Go(func() {
		manager{slog.New(slog.NewTextHandler(t.Output(), nil))}.keepAlive(ctx, func() {
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
