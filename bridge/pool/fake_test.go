package pool

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/internal/fakeworker"
	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestMain(m *testing.M) { fakeworker.Main(m) }

// started is a running pool of fake workers.
type started struct {
	*Pool
	t   *testing.T
	log *testkit.Log
}

// fakeStart starts workers of that mode.
func fakeStart(mode string) func(worker.Setup) (*exec.Cmd, []byte, error) {
	return func(s worker.Setup) (*exec.Cmd, []byte, error) {
		cmd, input := fakeworker.Command(mode, s.Socket, s.Listen, s.Token, s.Worker)
		return cmd, input, nil
	}
}

// fakePreload starts a zygote with that fault, whose workers serve.
func fakePreload(fault string) func(worker.Setup) (*exec.Cmd, []byte, error) {
	return func(s worker.Setup) (*exec.Cmd, []byte, error) {
		if !s.Preload {
			return nil, nil, fmt.Errorf("worker %d is to be started, not forked", s.Worker)
		}
		cmd, input := fakeworker.Zygote(fault, "serve", s.Socket, s.Token)
		return cmd, input, nil
	}
}

func start(t *testing.T, opt Options) *started {
	t.Helper()
	s := &started{t: t, log: &testkit.Log{}}
	if opt.Workers == 0 && opt.MaxWorkers == 0 {
		opt.Workers = 1
	}
	opt.Logger = s.log.Logger()
	if opt.Start == nil {
		opt.Start = fakeStart("serve")
	}
	opt.Crew = leased.Maker()
	s.Pool = New(opt)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

var names wire.NameTable

func newRequest(do string, safe bool) *Request {
	b := &wire.RequestBuilder{}
	b.Begin(&names)
	b.Pair("do", do)
	b.Body(nil)
	return &Request{Frame: b.Frame, Names: b.Names(), Safe: safe, Label: do, ID: "id of " + do}
}

// outcome is an answer read to its end.
type outcome struct {
	body string
	err  error
}

func (s *started) do(do string, safe bool) outcome {
	s.t.Helper()
	answer, err := s.Do(newRequest(do, safe))
	if err != nil {
		return outcome{err: err}
	}
	defer answer.Close()
	return read(answer)
}

func read(answer *Answer) (o outcome) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	var body strings.Builder
	for last := false; !last && o.err == nil; {
		var piece Piece
		piece, o.err = answer.Next(ctx)
		body.Write(piece.Body)
		last = piece.Last
	}
	o.body = body.String()
	return o
}

// async sends a request and returns the channel of its outcome.
func (s *started) async(do string, safe bool) <-chan outcome {
	c := make(chan outcome, 1)
	answer, err := s.Do(newRequest(do, safe))
	if err != nil {
		c <- outcome{err: err}
		return c
	}
	go func() {
		defer answer.Close()
		c <- read(answer)
	}()
	return c
}
