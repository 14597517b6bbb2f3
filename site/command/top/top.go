// Package top is the command "pagi-bridge top": it shows what a running gateway does in a table that is drawn again and again.
//
// What it shows is a vitals.View. frame.go makes lines of it, and knows nothing of terminals; keys.go reads what the user types;
// screen.go sets the terminal up and restores it; top.go is the loop that has them all.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
)

// Options configure Run.
type Options struct {
	// Ask asks the gateway.
	Ask func(context.Context) (*status.Gateway, error)
	// Interval is the time between two looks.
	Interval time.Duration
	// Color allows colours.
	Color bool
}

// askTime is how long the gateway may take to answer.
const askTime = 10 * time.Second

// Once writes one table to out: of two looks at the gateway, so that it has rates. columns is the width, 0 for any.
func Once(ctx context.Context, opt Options, out io.Writer, columns int) error {
	var looks vitals.Looks
	for i := range 2 {
		if i > 0 {
			select {
			case <-time.After(opt.Interval):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		g, err := opt.ask(ctx)
		if err != nil {
			return err
		}
		if v := looks.Add(vitals.Look{At: time.Now(), Gateway: g}); i > 0 {
			s := State{Workers: true, Columns: columns, Color: opt.Color}
			_, err := io.WriteString(out, strings.Join(s.Table(v), "\n")+"\n")
			return err
		}
	}
	return nil
}

func (o *Options) ask(ctx context.Context) (*status.Gateway, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return o.Ask(ctx)
}

// ErrNoTerminal says that standard input or output is no terminal.
var ErrNoTerminal = errors.New("top needs a terminal; --once prints one table without")

// Run draws tables until the user quits or ctx ends. Both files must be the terminal. If the first look at the gateway fails, so
// does Run; later it waits for the gateway to answer again.
func Run(ctx context.Context, opt Options, in, out *os.File) (err error) {
	first, err := opt.ask(ctx)
	if err != nil {
		return err
	}
	begun := vitals.Look{At: time.Now(), Gateway: first}
	screen, err := openScreen(in, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, screen.close()) }()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	l := &loop{opt: opt, screen: screen, state: State{Workers: true, Color: opt.Color}}
	l.look(answer{look: begun})
	return l.run(ctx, resized)
}

// loop is a running Run.
type loop struct {
	opt    Options
	screen *screen
	state  State
	looks  vitals.Looks
	view   *vitals.View
}

// answer is a look, or why there is none.
type answer struct {
	look vitals.Look
	err  error
}

func (l *loop) run(ctx context.Context, resized <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, 1)
	asking := false
	defer func() {
		cancel()
		if asking {
			<-answers
		}
	}()
	ticker := time.NewTicker(l.opt.Interval)
	defer ticker.Stop()
	for {
		if err := l.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case k, ok := <-l.screen.keys:
			if !ok || l.press(k) { // a terminal that has gone
				return nil
			}
		case <-ticker.C:
			if l.state.Paused || asking {
				continue
			}
			asking = true
			go func() {
				g, err := l.opt.ask(ctx)
				answers <- answer{vitals.Look{At: time.Now(), Gateway: g}, err}
			}()
		case a := <-answers:
			asking = false
			l.look(a)
		}
	}
}

// look takes an answer in.
func (l *loop) look(a answer) {
	if a.err != nil {
		l.state.Problem = fmt.Sprint(a.err)
		return
	}
	l.state.Problem = ""
	l.view = l.looks.Add(a.look)
}

// draw draws the table.
func (l *loop) draw() error {
	columns, lines, err := l.screen.size()
	if err != nil {
		return err
	}
	l.state.Columns, l.state.Lines = columns, lines
	return l.screen.draw(l.state.Frame(l.view))
}

// press does what a key asks for, and reports whether that is to quit.
func (l *loop) press(k key) (quit bool) {
	s := &l.state
	if s.Help {
		s.Help = false
		return k == keyQuit
	}
	page := max(1, s.Lines-headLines-1)
	switch k {
	case keyQuit:
		return true
	case keyPause:
		s.Paused = !s.Paused
	case keyWorkers:
		s.Workers = !s.Workers
	case keyHelp:
		s.Help = true
	case keyUp:
		s.Scroll--
	case keyDown:
		s.Scroll++
	case keyPageUp:
		s.Scroll -= page
	case keyPageDown:
		s.Scroll += page
	case keyHome:
		s.Scroll = 0
	case keyEnd:
		s.Scroll = 1 << 30
	case keyNextSort:
		s.Sort = (s.Sort + 1) % sorts
	case keyPreviousSort:
		s.Sort = (s.Sort + sorts - 1) % sorts
	default:
		if sort, is := sortKeys[k]; is {
			s.Sort = sort
		}
	}
	return false
}
