package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// ErrUnknownCall is the error of Options.Call for a name that it does not know.
var ErrUnknownCall = errors.New("no such call")

// maxCalls is how many calls of a worker may wait.
const maxCalls = 64

// calls are the calls of a worker that wait for their answers.
type calls struct {
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	limit   chan struct{}
	running sync.WaitGroup
}

// call answers a CALL, on a goroutine of its own.
func (c *Conn) call(frame wire.Frame) error {
	if !c.terms.Features.Has(wire.FeatureCalls) {
		return c.unexpected(frame)
	}
	name, argument, err := wire.DecodeCall(frame.Payload)
	if err != nil {
		return err
	}
	select {
	case c.calls.limit <- struct{}{}:
	default:
		return fmt.Errorf("%w: more than %d calls at once", ErrProtocol, maxCalls)
	}
	c.calls.running.Go(func() {
		defer func() { <-c.calls.limit }()
		status, result := c.answer(c.calls.ctx, name, argument)
		if frame.Has(wire.FlagQuiet) {
			return
		}
		_ = c.put(func(b []byte) []byte { return wire.AppendReply(b, frame.Stream, status, result) }) // its reader notices
	})
	return nil
}

// answer runs Options.Call.
func (c *Conn) answer(ctx context.Context, name string, argument []byte) (status uint8, result []byte) {
	if c.opt.Call == nil {
		return wire.ReplyUnknown, nil
	}
	result, err := c.opt.Call(ctx, name, argument)
	switch {
	case errors.Is(err, ErrUnknownCall):
		return wire.ReplyUnknown, nil
	case err != nil:
		result, status = []byte(err.Error()), wire.ReplyFailed
	case len(result) > wire.MaxMessage:
		result, status = fmt.Appendf(nil, "a result of %d bytes, at most %d are allowed", len(result), wire.MaxMessage), wire.ReplyFailed
	}
	return status, result[:min(len(result), wire.MaxMessage)]
}

// callers are the calls of a worker that wait for their replies.
type callers struct {
	mu      sync.Mutex
	last    uint32
	waiting map[uint32]chan reply
	err     error // of the connection
}

type reply struct {
	status int
	result []byte
	err    error
}

// Call asks the gateway for something by a CALL, and returns its result. The error is ErrUnknownCall if the
// gateway knows no call of this name, what the gateway says if the call has failed there, or that of
// ctx.
func (w *Worker) Call(ctx context.Context, name string, argument []byte) ([]byte, error) {
	if !w.terms.Features.Has(wire.FeatureCalls) {
		return nil, fmt.Errorf("%w: the gateway takes no calls", ErrUnknownCall)
	}
	answer := make(chan reply, 1)
	id, err := w.calls.expect(answer)
	if err != nil {
		return nil, err
	}
	if err := w.put(func(b []byte) []byte { return wire.AppendCall(b, id, 0, name, argument) }); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		switch {
		case r.err != nil:
			return nil, r.err
		case r.status == wire.ReplyUnknown:
			return nil, fmt.Errorf("%w: %s", ErrUnknownCall, name)
		case r.status == wire.ReplyFailed:
			return nil, errors.New(string(r.result))
		}
		return r.result, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx) // the reply still comes, and is dropped
	}
}

// expect chooses the number of a call.
func (c *callers) expect(answer chan reply) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case len(c.waiting) >= maxCalls:
		return 0, fmt.Errorf("mux: %d calls wait for the gateway already", maxCalls)
	case c.waiting == nil:
		c.waiting = map[uint32]chan reply{}
	}
	for c.last++; c.waiting[c.last] != nil; c.last++ {
	}
	c.waiting[c.last] = answer
	return c.last, nil
}

// replied handles a REPLY.
func (c *callers) replied(frame wire.Frame) error {
	status, result, err := wire.DecodeReply(frame.Payload)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := c.waiting[frame.Stream]
	if answer == nil {
		return fmt.Errorf("%w: a REPLY to no call", ErrProtocol)
	}
	delete(c.waiting, frame.Stream)
	answer <- reply{status: status, result: result}
	return nil
}

// failAll ends all calls when the connection has ended.
func (c *callers) failAll(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	for _, answer := range c.waiting {
		answer <- reply{err: c.err}
	}
	c.waiting = nil
}
