package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Errors with which a stream or a connection can end.
var (
	// ErrProtocol: the other side does not keep to the protocol.
	ErrProtocol = errors.New("the other side broke the protocol")
	// ErrClosed: the connection has ended.
	ErrClosed = errors.New("the connection to the worker has ended")
	// ErrBusy: as many streams are open as the worker takes.
	ErrBusy = errors.New("the worker has as many streams as it takes")
	// ErrRetired: the worker is replaced, and its scopes have gone on for as long as they may.
	ErrRetired = errors.New("the worker is replaced")
	// ErrBlocked: the worker's loop does not turn.
	ErrBlocked = errors.New("the worker gives no sign of life")
)

// end is one side's part in a link: what it does with the frames that only the other side sends.
type end interface {
	// frame handles a frame that is not about an open stream. The error ends the connection.
	frame(wire.Frame) error
	// late decides on a frame about a stream that is not open.
	late(wire.Frame) error
	// finish is told that the other side has ended its half of a stream.
	finish(s *stream, frame wire.Frame) error
}

// link is one connection and its streams, the part that both ends share. Its reader never waits: what
// comes goes into the inboxes of the streams, and what has to be answered goes to the writer.
type link struct {
	*Line
	log     *slog.Logger
	from    wire.Direction // of the events that come
	end     end
	out     writer
	streams table
	pulse   pulse
	tasks   sync.WaitGroup // callbacks of applications

	done  chan struct{} // closed when the connection has ended
	once  sync.Once
	cause error           // why it has ended; valid after done
	stuck *status.Request // what the other side had for the longest time when it gave no sign of life; valid where cause is ErrBlocked
}

func (l *link) init(line *Line, log *slog.Logger, from wire.Direction, end end) {
	l.Line, l.log, l.from, l.end = line, log, from, end
	l.done = make(chan struct{})
	l.out.init(line.conn)
	l.streams.init()
}

// run reads frames until the connection ends, and returns why. It never returns nil. Afterwards all
// streams have ended, too.
func (l *link) run(ping Ping) error {
	var own sync.WaitGroup
	own.Go(func() { l.out.write(l.done) })
	if l.terms.Features.Has(wire.FeaturePing) && ping.Every > 0 {
		own.Go(func() { l.keepPinging(ping) })
	}
	if l.reader != nil {
		l.close(l.read())
	}
	<-l.done
	l.close(ErrClosed) // which waits for the close that came first
	own.Wait()
	if l.files != nil {
		if err := l.files.CloseRest(); err != nil {
			l.log.Debug("cannot close a descriptor that came", "error", err)
		}
	}
	return l.cause
}

// close ends the connection, once. It does not wait.
func (l *link) close(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.done)
		if err := l.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			l.log.Debug("cannot close a connection", "error", err)
		}
		l.out.fail(cause)
		for _, s := range l.streams.closeAll() {
			s.in.finish(ending{err: fmt.Errorf("%w: %w", ErrClosed, cause)})
			s.out.close()
		}
	})
}

func (l *link) read() error {
	for {
		frame, err := l.reader.Next()
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("in the middle of a frame: %w", err)
			}
			return err
		}
		if err := l.take(frame); err != nil {
			return fmt.Errorf("%s: %w", frame.Type, err)
		}
	}
}

// take handles one frame, and gives its buffer back unless the frame is kept.
func (l *link) take(frame wire.Frame) error {
	l.pulse.beat()
	switch frame.Type {
	case wire.EventPart, wire.Scope, wire.Call, wire.Reply: // what they hold is used later
	default:
		defer buffer.Put(frame.Buffer)
	}
	file, err := l.descriptorOf(frame)
	if err != nil {
		return err
	}
	switch frame.Type {
	case wire.Ping:
		token, err := wire.DecodePing(frame.Type, frame.Payload)
		if err != nil || !l.terms.Features.Has(wire.FeaturePing) {
			return errors.Join(err, l.unexpected(frame))
		}
		return l.put(func(b []byte) []byte { return wire.AppendFrame(b, wire.Pong, 0, 0, token[:]) })
	case wire.Pong:
		token, err := wire.DecodePing(frame.Type, frame.Payload)
		if err != nil {
			return err
		}
		return l.pulse.answered(token)
	case wire.Credit, wire.EventPart, wire.Disconnect, wire.End:
		s := l.streams.get(frame.Stream)
		if s == nil {
			closeFile(file)
			return l.end.late(frame) // an EVENT that is late ends the connection
		}
		return l.about(s, frame, file)
	}
	closeFile(file)
	return l.end.frame(frame)
}

// about handles a frame about an open stream.
func (l *link) about(s *stream, frame wire.Frame, file *os.File) error {
	switch frame.Type {
	case wire.Credit:
		bytes, err := wire.DecodeCredit(frame.Payload)
		if err != nil {
			return err
		}
		return s.out.add(bytes)
	case wire.EventPart:
		grant, err := s.in.push(frame, file)
		if err == nil && grant > 0 {
			err = l.grant(s.id, grant)
		}
		return err
	}
	return l.end.finish(s, frame)
}

func (l *link) descriptorOf(frame wire.Frame) (*os.File, error) {
	switch {
	case !frame.Has(wire.FlagDescriptor):
		return nil, nil
	case l.files == nil, frame.Type != wire.EventPart:
		return nil, fmt.Errorf("%w: a descriptor where none may come", ErrProtocol)
	}
	return l.files.Take()
}

// unexpected is the error for a frame of a type that the other side may not send, or not now.
func (l *link) unexpected(frame wire.Frame) error {
	return fmt.Errorf("%w: %s on stream %d", ErrProtocol, frame.Type, frame.Stream)
}

// put writes frames without waiting. An error means that the connection has ended, which its reader
// notices as well.
func (l *link) put(add func(b []byte) []byte) error {
	if err := l.out.put(add); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

func (l *link) grant(id uint32, bytes int) error {
	return l.put(func(b []byte) []byte { return wire.AppendCredit(b, id, uint32(bytes)) })
}

// logRecord logs a LOG frame. The stream names the scope, where there is one.
func (l *link) logRecord(frame wire.Frame) {
	log := l.log
	if s := l.streams.get(frame.Stream); s != nil {
		log = s.logger()
	}
	level, known := levels[frame.Flags]
	if !known {
		level = slog.LevelError
	}
	text := frame.Payload[:min(len(frame.Payload), wire.MaxMessage)]
	log.Log(context.Background(), level, strings.Trim(string(text), "\r\n"))
}

var levels = map[uint8]slog.Level{
	wire.LevelError: slog.LevelError,
	wire.LevelWarn:  slog.LevelWarn,
	wire.LevelInfo:  slog.LevelInfo,
	wire.LevelDebug: slog.LevelDebug,
}
