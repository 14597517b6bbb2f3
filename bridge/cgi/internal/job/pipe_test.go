//go:build unix

package job

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

func TestAPipeIsReadWithoutWaiting(t *testing.T) {
	p, err := NewPipe(false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	buf := make([]byte, 5)
	if n := p.ReadNow(buf); n != 0 {
		t.Errorf("%d bytes of an empty pipe", n)
	}
	if _, err := syscall.Write(p.Theirs(), []byte("one two")); err != nil {
		t.Fatal(err)
	}
	p.Limit(time.Unix(1, 0)) // a deadline that has passed hides nothing
	if n := p.ReadNow(buf); string(buf[:n]) != "one t" {
		t.Errorf("got %q", buf[:n])
	}
	p.CloseTheirs()
	p.CloseTheirs() // the number may be another file's by now
	if p.Theirs() != -1 {
		t.Errorf("their end is %d", p.Theirs())
	}
	if n := p.ReadNow(buf); string(buf[:n]) != "wo" {
		t.Errorf("got %q", buf[:n])
	}
	if n := p.ReadNow(buf); n != 0 {
		t.Errorf("%d bytes at the end", n)
	}
	p.Close()
	if n := p.ReadNow(buf); n != 0 {
		t.Errorf("%d bytes of a closed pipe", n)
	}
	(*Pipe)(nil).Close()
}

// What is said of Job, by the process that ends with its request.
func TestAJobOfItsOwn(t *testing.T) {
	out, errs, err := Outputs()
	if err != nil {
		t.Fatal(err)
	}
	null, err := DevNull()
	if err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{
		Args: []string{"/bin/sh", "-c", "echo output; echo error >&2; exit 3"}, Env: []string{}, Dir: "/",
		Files: []uintptr{null.Fd(), uintptr(out.Theirs()), uintptr(errs.Theirs())},
	})
	if err != nil {
		t.Fatal(err)
	}
	var j Job = NewOwn(p, out, errs, []byte("said"))
	if text, err := io.ReadAll(j); string(text) != "output\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := io.ReadAll(j.Errs()); string(text) != "error\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if j.IsOver() || j.IsFinished() || string(j.Said()) != "said" || j.Pid() != p.Pid() || j.Out() != out {
		t.Errorf("%+v", j)
	}
	exit, ended := j.Settle(time.Minute)
	if !ended || exit.String() != "exit status 3" || !j.IsFinished() || j.IsOver() {
		t.Errorf("%v, %v", exit, ended)
	}
	j.Close(false)
	if _, err := j.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed pipe: %v", err)
	}
}
