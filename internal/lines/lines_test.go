package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// gate is a place that lets writes through only while it is open.
type gate struct {
	testkit.Log
	in   chan struct{} // a value for each write that has begun
	open chan error    // a value lets one write through, or fails it
}

func newGate() *gate { return &gate{in: make(chan struct{}, 100), open: make(chan error, 100)} }

func (g *gate) Write(p []byte) (int, error) {
	g.in <- struct{}{}
	if err := <-g.open; err != nil {
		return 0, err
	}
	return g.Log.Write(p)
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestLinesWithoutRoomAreCounted has a writer that is stuck, and then works again.
func TestLinesWithoutRoomAreCounted(t *testing.T) {
	g := newGate()
	var failures []error
	losses := make(chan Loss, 1)
	w := New(g, Options{Room: 10, Failed: func(err error) { failures = append(failures, err) }, Lost: func(l Loss) { losses <- l }})
	write(t, w, "first\n")
	testkit.Await(t, g.in) // it is being written, and no room is taken
	write(t, w, "second\n")
	for range 3 {
		write(t, w, "too many\n")
	}
	write(t, w, "a\n") // a short one finds room
	write(t, w, "one\ntwo\n")
	if s := w.Stats(); s.Lost != 5 || s.Err != ErrBehind {
		t.Errorf("%+v", s)
	}
	if len(failures) != 1 || failures[0] != ErrBehind {
		t.Errorf("told %v", failures)
	}
	if w.Flush(time.Millisecond) {
		t.Error("it says that it has been written")
	}
	g.open <- nil
	g.open <- nil
	if l := testkit.Await(t, losses); l.Lines != 5 || l.Err != ErrBehind || time.Since(l.Since) > time.Minute {
		t.Errorf("%+v", l)
	}
	if err := w.Close(testkit.Patience); err != nil {
		t.Error(err)
	}
	if got := g.String(); got != "first\nsecond\na\n" {
		t.Errorf("written: %q", got)
	}
	if s := w.Stats(); s.Lost != 5 || s.Err != nil {
		t.Errorf("%+v", s)
	}
	write(t, w, "late\n") // it must do no harm
	if w.Flush(time.Hour) {
		t.Error("flushed after its end")
	}
}

// TestAStuckWriterCanBeClosed: what is to take the lines never does.
func TestAStuckWriterCanBeClosed(t *testing.T) {
	g := newGate()
	w := New(g, Options{})
	write(t, w, "stuck\n")
	testkit.Await(t, g.in)
	write(t, w, "one\ntwo\n")
	if err := w.Close(10 * time.Millisecond); err == nil || !strings.HasPrefix(err.Error(), "at least 2 lines") {
		t.Errorf("%v", err)
	}
	g.open <- nil
	g.open <- nil
	<-w.done
}

// disk has room for so many bytes.
type disk struct {
	bytes.Buffer
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room-d.Len())
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// TestALineThatWasTornIsCompleted: a disk is full in the middle of a line.
func TestALineThatWasTornIsCompleted(t *testing.T) {
	d := &disk{room: 8}
	var told []string
	w := New(d, Options{
		Failed: func(err error) { told = append(told, err.Error()) },
		Lost:   func(l Loss) { told = append(told, fmt.Sprint(l.Lines, " ", l.Err)) },
	})
	step := func(text string) {
		t.Helper()
		write(t, w, text)
		if !w.Do(testkit.Patience, func() {}) {
			t.Fatal("stuck")
		}
	}
	// A job gives up what is torn, so lines are put in one after another without one.
	write(t, w, "one\ntwo and more\nthree\n")
	testkit.Eventually(t, "the failure", func() bool { return w.Stats().Lost == 1 })
	w.mu.Lock() // the goroutine holds no file now
	d.room = 100
	w.mu.Unlock()
	step("four\n")
	if got := d.String(); got != "one\ntwo and more\nfour\n" {
		t.Errorf("%q", got)
	}
	if want := []string{"no space left on device", "1 no space left on device"}; strings.Join(told, ",") != strings.Join(want, ",") {
		t.Errorf("told %q", told)
	}
	if err := w.Close(testkit.Patience); err != nil {
		t.Error(err)
	}
}

// TestAPipeThatDoesNotBlockIsWaitedFor: another process may have made it so.
func TestAPipeThatDoesNotBlockIsWaitedFor(t *testing.T) {
	read, write0, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write0.Close()
	if err := syscall.SetNonblock(int(write0.Fd()), true); err != nil { // Fd has made it block
		t.Fatal(err)
	}
	w := New(write0, Options{Room: 1 << 30})
	line := strings.Repeat("x", 1023) + "\n"
	for range 200 {
		write(t, w, line)
	}
	got := make([]byte, 200<<10)
	if _, err := io.ReadFull(read, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != strings.Repeat(line, 200) || w.Stats().Lost > 0 {
		t.Error("something was lost")
	}
	if err := w.Close(testkit.Patience); err != nil {
		t.Error(err)
	}
}

// TestOrderIsKept has many callers write while jobs are done.
func TestOrderIsKept(t *testing.T) {
	var out bytes.Buffer
	w := New(&out, Options{})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 200 {
				if _, err := fmt.Fprintf(w, "%d %d\n", i, j); err != nil {
					t.Error(err)
				}
				if j%50 == 0 && !w.Flush(testkit.Patience) {
					t.Error("stuck")
				}
			}
		})
	}
	group.Wait()
	if err := w.Close(testkit.Patience); err != nil {
		t.Fatal(err)
	}
	next := map[int]int{}
	for line := range strings.Lines(out.String()) {
		var i, j int
		if _, err := fmt.Sscanf(line, "%d %d\n", &i, &j); err != nil || next[i] != j {
			t.Fatalf("%q: %v, want %d", line, err, next[i])
		}
		next[i]++
	}
	if len(next) != 8 {
		t.Errorf("%v", next)
	}
}

// TestFailuresAreToldOnce: of an outage, not of each line.
func TestFailuresAreToldOnce(t *testing.T) {
	g := newGate()
	told := make(chan error, 10)
	w := New(g, Options{Failed: func(err error) { told <- err }})
	broken := errors.New("broken")
	for range 3 {
		g.open <- broken
		write(t, w, "x\n")
		if !w.Flush(testkit.Patience) {
			t.Fatal("stuck")
		}
	}
	if len(told) != 1 || !errors.Is(<-told, broken) || w.Stats() != (Stats{3, broken}) {
		t.Errorf("%d told, %+v", len(told), w.Stats())
	}
	if err := w.Close(testkit.Patience); err != nil {
		t.Error(err)
	}
}
