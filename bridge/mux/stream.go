package mux

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// stream is one scope on a connection: what comes, and what may be sent. It is open from SCOPE to
// END.
type stream struct {
	id    uint32
	link  *link
	kind  string // the scope's type
	since time.Time

	method, root, path, requestID string // of the request, for the log and the status; "" where there is none
	in                            inbox
	out                           window

	told    atomic.Bool // the gateway has sent DISCONNECT, or need not
	sending sync.Mutex  // an event at a time
}

func (l *link) newStream(id uint32, scope *pagi.Scope) *stream {
	s := &stream{id: id, link: l, kind: scope.Type, since: time.Now(), method: scope.Method, root: scope.RootPath, path: scope.Path}
	s.requestID, _ = scope.Value(scopekey.RequestID).(string)
	s.in.init(l.terms.Own.Window, l.terms.Own.Message)
	s.out.init(l.terms.Peer.Window)
	return s
}

// request describes the request of the scope.
func (s *stream) request() *status.Request {
	return &status.Request{Method: s.method, Path: cmp.Or(s.root+s.path, s.kind), ID: s.requestID, Since: s.since}
}

// logger returns the logger for records about the stream.
func (s *stream) logger() *slog.Logger {
	return s.link.log.With("request", cmp.Or(strings.TrimSpace(s.method+" "+s.root+s.path), s.kind))
}

// receive returns the next event that has come, or the ending. The caller calls taken when it is
// done with the event.
func (s *stream) receive(ctx context.Context) (pagi.Event, item, *ending, error) {
	it, end, err := s.in.next(ctx)
	if err != nil || end != nil {
		return nil, it, end, err
	}
	ev, err := wire.DecodeEvent(s.link.from, it.payload)
	if err != nil {
		closeFile(it.file)
		s.link.close(fmt.Errorf("EVENT on stream %d: %w", s.id, err))
		return nil, it, nil, err
	}
	return ev, it, nil, nil
}

// taken gives the credit for an event back.
func (s *stream) taken(it item) error {
	if grant := s.in.taken(it); grant > 0 {
		return s.link.grant(s.id, grant)
	}
	return nil
}

// send sends an event, in as many frames as the window asks for. It waits for credit. Once the stream
// has ended it does nothing. An event that has begun to be sent when ctx ends is not complete, so the
// caller must end the stream then.
func (s *stream) send(ctx context.Context, ev pagi.Event) error {
	payload, err := wire.AppendEvent(nil, ev)
	if err != nil {
		return err
	}
	if most := s.link.terms.Peer.Message; len(payload) > most {
		return fmt.Errorf("%w: %s of %d bytes, the other side takes %d", wire.ErrTooLarge, ev.EventType(), len(payload), most)
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	for first := true; first || len(payload) > 0; first = false {
		n, ok, err := s.out.take(ctx, len(payload))
		if err != nil || !ok {
			return err
		}
		piece := payload[:n]
		payload = payload[n:]
		flags := uint8(0)
		if len(payload) > 0 {
			flags = wire.FlagPart
		}
		err = s.link.out.putEvent(ctx, len(payload) == 0 && hasSequel(ev), func(b []byte) []byte { return wire.AppendFrame(b, wire.EventPart, flags, s.id, piece) })
		if err != nil {
			return err
		}
	}
	return nil
}

// hasSequel reports whether something usually follows an event at once: the body follows the start of a response, and the end of
// the scope follows the end of the body.
func hasSequel(ev pagi.Event) bool {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		return true
	case pagi.HTTPResponseBody:
		return !e.More
	}
	return false
}

// sendFile sends an event with a descriptor. It returns when the descriptor is on its way.
func (s *stream) sendFile(ctx context.Context, ref wire.FileRef, file *os.File) error {
	payload, err := wire.AppendEvent(nil, wire.HTTPFile{Ref: ref})
	if err != nil {
		return err
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	// The payload is shorter than minPiece, so it is one frame.
	if _, ok, err := s.out.take(ctx, len(payload)); err != nil || !ok {
		return err
	}
	sent, err := s.link.out.putFile(func(b []byte) []byte {
		return wire.AppendFrame(b, wire.EventPart, wire.FlagDescriptor, s.id, payload)
	}, file)
	if err != nil {
		return err
	}
	<-sent
	return nil
}
