package sysio

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// A reader that is scheduled late, after the time that the output of a script that has ended may take, still gets
// what the script has written.
func TestADeadlineDoesNotHideWhatIsInThePipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("written in time"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	from, b := PipeReader{File: r}, make([]byte, 10)
	for _, want := range []string{"written in", " time"} {
		if n, err := from.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("%q and %v are read, want %q", b[:n], err, want)
		}
	}
	if n, err := from.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an empty pipe gives %d bytes and %v", n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := from.Read(b); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a pipe that has ended gives %d bytes and %v", n, err)
	}
}

// A process that goes on writing does not keep a reader whose time is up.
func TestAReaderWhoseTimeIsUpEnds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	from, b := PipeReader{File: r}, make([]byte, 4096)
	for total := 0; ; {
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		n, err := from.Read(b)
		if total += n; total > 2*pipeCapacity {
			t.Fatalf("%d bytes are read after the deadline", total)
		}
		if err != nil {
			break
		}
	}
}
