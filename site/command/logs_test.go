package command

import (
	"io"
	"log/slog"
	"testing"
	"time"
)

// slowFile is a log that takes its time to be opened again.
type slowFile struct {
	io.Writer
	opening, closed chan struct{}
	t               *testing.T
}

func (f *slowFile) Reopen() error {
	close(f.opening)
	select {
	case <-f.closed:
		f.t.Error("it is closed while it is opened again")
	case <-time.After(100 * time.Millisecond):
	}
	return nil
}

func (f *slowFile) Close() error {
	close(f.closed)
	return nil
}

func TestALogIsNotClosedWhileItIsOpenedAgain(t *testing.T) {
	f := &slowFile{io.Discard, make(chan struct{}), make(chan struct{}), t}
	l := &logs{logger: slog.New(slog.DiscardHandler), access: f}
	reopened := make(chan struct{})
	go func() {
		defer close(reopened)
		l.reopen()
	}()
	<-f.opening
	(&accessChange{logs: l}).commit()
	<-reopened
	<-f.closed
}
