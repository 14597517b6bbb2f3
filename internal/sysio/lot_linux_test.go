package sysio

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// sleeper counts how often it was woken.
type sleeper chan struct{}

func (s sleeper) Wake() { s <- struct{}{} }

// pair returns both ends of a connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() }) // a test may have closed them
	return near, far
}

func TestALotWakesEachOnce(t *testing.T) {
	var lot Lot
	for what, cause := range map[string]func(near, far net.Conn) error{
		"bytes":   func(_, far net.Conn) error { _, err := far.Write([]byte("x")); return err },
		"the end": func(_, far net.Conn) error { return far.Close() },
		"WakeAll": func(near, _ net.Conn) error { defer lot.WakeAll(); return near.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			near, far := pair(t)
			woken := make(sleeper, 9)
			if !lot.Park(near, time.Time{}, woken) {
				t.Fatal("it was not parked")
			}
			if n := lot.Len(); n != 1 || len(woken) != 0 {
				t.Fatalf("%d are parked, %d were woken", n, len(woken))
			}
			if err := cause(near, far); err != nil {
				t.Fatal(err)
			}
			testkit.Await(t, woken)
			testkit.Eventually(t, "the lot to be empty", func() bool { return lot.Len() == 0 })
			lot.WakeAll()
			if len(woken) != 0 {
				t.Error("it was woken twice")
			}
		})
	}
	t.Run("the end of its time", func(t *testing.T) {
		near, _ := pair(t)
		woken, other := make(sleeper, 9), make(sleeper, 9)
		still, _ := pair(t)
		begin := time.Now()
		if !lot.Park(near, begin.Add(10*time.Millisecond), woken) || !lot.Park(still, begin.Add(time.Hour), other) {
			t.Fatal("they were not parked")
		}
		testkit.Await(t, woken)
		if time.Since(begin) < 10*time.Millisecond || len(other) != 0 || lot.Len() != 1 {
			t.Errorf("it was woken after %v, the other one %d times", time.Since(begin), len(other))
		}
		lot.WakeAll()
		testkit.Await(t, other)
	})
}

func TestWhatCannotBeParked(t *testing.T) {
	var lot Lot
	near, _ := pair(t)
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	pipe, _ := net.Pipe()
	for what, c := range map[string]net.Conn{"a closed connection": near, "a pipe": pipe} {
		if lot.Park(c, time.Time{}, make(sleeper, 1)) || lot.Len() != 0 {
			t.Errorf("%s was parked", what)
		}
	}
}

// Connections are parked while others are woken and the lot becomes empty again and again.
func TestALotThatIsBusy(t *testing.T) {
	var lot Lot
	var all sync.WaitGroup
	for range 8 {
		near, far := pair(t)
		all.Go(func() {
			woken, one := make(sleeper, 1), make([]byte, 1)
			for range 200 {
				if !lot.Park(near, time.Time{}, woken) {
					t.Error("it was not parked")
					return
				}
				if _, err := far.Write(one); err != nil {
					t.Error(err)
					return
				}
				<-woken
				if _, err := near.Read(one); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := lot.Len(); n != 0 {
		t.Errorf("%d are parked", n)
	}
}
