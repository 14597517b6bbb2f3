package outbox

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestOutbox(t *testing.T) {
	var o Outbox
	o.Queue(1, []byte("lost"), nil)
	if err := o.Flush(); err != nil {
		t.Errorf("before the connection: %v", err)
	}
	ours, theirs := net.Pipe()
	o.Connect(ours)
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := io.ReadAtLeast(theirs, b, 9)
		got <- string(b[:n])
	}()
	if n := o.Queue(0, []byte("one"), nil); n != 3 {
		t.Errorf("%d bytes wait", n)
	}
	if n := o.Queue(7, []byte("two"), []byte("6")); n != 7 {
		t.Errorf("%d bytes wait", n)
	}
	o.Queue(8, nil, []byte("78"))
	if err := o.Flush(); err != nil {
		t.Error(err)
	}
	if text := testkit.Await(t, got); text != "onetwo678" {
		t.Errorf("written: %q", text)
	}
	if is := o.Delivery(); is != (Delivery{Written: 7}) {
		t.Errorf("the first mark of the batch: %+v", is)
	}
	if err := o.Flush(); err != nil || o.Delivery().Written != 7 {
		t.Errorf("a flush of nothing: %v, %+v", err, o.Delivery())
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	o.Queue(9, []byte("three"), nil)
	if err := o.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("to a process that has gone: %v", err)
	}
	if is := o.Delivery(); is != (Delivery{Written: 9, Undelivered: 9}) {
		t.Errorf("what could not be written: %+v", is)
	}
	o.Close()
}
