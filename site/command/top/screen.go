package top

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// screen is the terminal while a table is drawn in it: on the alternate screen, without a cursor, and without the terminal's own
// treatment of keys. close restores it.
type screen struct {
	in, out *os.File
	before  *term.State
	keys    chan key      // closed when the terminal has gone
	quit    chan struct{} // closed by close
	wake    *os.File      // a pipe, whose end wakes the reader
	done    chan struct{} // closed when the reader has ended
}

// What openScreen writes, and what close does: the alternate screen, no cursor, no wrapping of lines.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// openScreen sets the terminal up. Both files must be the terminal.
func openScreen(in, out *os.File) (*screen, error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil, ErrNoTerminal
	}
	woken, wake, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("terminal: %w", err), woken.Close(), wake.Close())
	}
	s := &screen{in: in, out: out, before: before, keys: make(chan key), quit: make(chan struct{}), wake: wake, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer close(s.keys)
		defer func() { _ = woken.Close() }() // it was only read
		s.read(int(woken.Fd()))
	}()
	if _, err := out.WriteString(enterScreen); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// read passes keys on until the terminal has gone, or close is called.
func (s *screen) read(woken int) {
	terminal := int(s.in.Fd())
	fds := []unix.PollFd{{Fd: int32(terminal), Events: unix.POLLIN}, {Fd: int32(woken), Events: unix.POLLIN}}
	var b [256]byte
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil, fds[1].Revents != 0:
			return
		}
		n, err := unix.Read(terminal, b[:])
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil, n == 0:
			return
		}
		for _, k := range parseKeys(string(b[:n])) {
			select {
			case s.keys <- k:
			case <-s.quit:
				return
			}
		}
	}
}

// size returns the columns and lines of the terminal.
func (s *screen) size() (columns, lines int, err error) {
	columns, lines, err = term.GetSize(int(s.out.Fd()))
	if err != nil {
		return 0, 0, fmt.Errorf("terminal: %w", err)
	}
	if columns <= 0 || lines <= 0 { // as serial lines have it
		return 80, 24, nil
	}
	return columns, lines, nil
}

// draw writes lines from the top of the screen, and clears what is left of it.
func (s *screen) draw(lines []string) error {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line)
		b.WriteString("\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, err := s.out.WriteString(b.String())
	return err
}

// close ends the reader and restores the terminal.
func (s *screen) close() error {
	close(s.quit)
	err := s.wake.Close()
	<-s.done
	_, written := s.out.WriteString(leaveScreen)
	return errors.Join(err, written, term.Restore(int(s.in.Fd()), s.before))
}
