package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a connection from which a text comes in pieces. It notes whether a deadline has cut it.
type memory struct {
	net.Conn
	text string
	size int
	cuts atomic.Int64
}

func (m *memory) Read(p []byte) (int, error) {
	if m.text == "" {
		return 0, io.EOF
	}
	n := copy(p, m.text[:min(m.size, len(m.text))])
	m.text = m.text[n:]
	return n, nil
}

func (m *memory) SetDeadline(t time.Time) error {
	if t.Equal(past) {
		m.cuts.Add(1)
	}
	return nil
}

func (m *memory) Close() error { return nil }

func TestAGuardEndsAWaitThatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		g := &guard{conn: m}
		defer g.stop()
		for range 100 { // the timer of one is that of the next
			g.begin(t.Context(), time.Second, forResponse)
			time.Sleep(900 * time.Millisecond)
			g.rest()
			time.Sleep(time.Hour) // for the client
			g.await(2*time.Second, forBody)
			time.Sleep(1900 * time.Millisecond)
			if err := g.end(); err != nil || m.cuts.Load() != 0 {
				t.Fatalf("the connection was cut: %v", err)
			}
		}
		g.begin(t.Context(), time.Second, forResponse)
		time.Sleep(time.Second)
		synctest.Wait()
		err := g.end()
		if err == nil || m.cuts.Load() != 1 || !strings.Contains(err.Error(), "waited 1s for the response (option response_timeout)") {
			t.Errorf("%v, %d cuts", err, m.cuts.Load())
		}
	})
}

func TestAGuardLooksForAClientThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		g := &guard{conn: m}
		defer g.stop()
		why := errors.New("it has left")
		ctx, cancel := context.WithCancelCause(t.Context())
		g.begin(ctx, 0, forResponse)
		time.Sleep(time.Millisecond)
		cancel(why)
		synctest.Wait()
		if m.cuts.Load() != 0 {
			t.Error("the client was watched from the beginning")
		}
		time.Sleep(lookTime)
		synctest.Wait()
		if err := g.end(); !errors.Is(err, why) || m.cuts.Load() != 1 {
			t.Errorf("%v, %d cuts", err, m.cuts.Load())
		}
		// What comes late is of no concern to the next request.
		ctx, cancel = context.WithCancelCause(t.Context())
		g.begin(ctx, 0, forResponse)
		time.Sleep(2 * lookTime)
		synctest.Wait()
		if err := g.end(); err != nil {
			t.Errorf("the request before is meant: %v", err)
		}
		g.begin(t.Context(), 0, forResponse)
		cancel(why)
		time.Sleep(2 * lookTime)
		synctest.Wait()
		if err := g.end(); err != nil || m.cuts.Load() != 1 {
			t.Errorf("%v, %d cuts", err, m.cuts.Load())
		}
	})
}
