package mux

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/descriptor"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// greetTime is how long the other side may take to greet.
const greetTime = 5 * time.Second

// ErrRefused is the error of a greeting that the other side has refused. Its text has the reason.
var ErrRefused = errors.New("the other side has refused the connection")

// Line is a connection whose sides have greeted each other: Greet and Answer make one, and so does
// Adopt.
type Line struct {
	conn   io.WriteCloser
	reader *wire.Reader       // nil if the frames are fed
	files  *descriptor.Reader // nil if no descriptors can come
	terms  wire.Terms
}

// Adopt makes a Line of a connection that others have made, and whose frames they read and feed to
// the Conn. Terms with descriptors are not possible.
func Adopt(conn io.WriteCloser, terms wire.Terms) *Line {
	terms.Features &^= wire.FeatureDescriptors
	return &Line{conn: conn, terms: terms}
}

// newLine prepares a connection for a greeting.
func newLine(conn net.Conn, own *wire.Offer) *Line {
	l := &Line{conn: conn}
	unix, is := conn.(*net.UnixConn)
	if is && own.Features.Has(wire.FeatureDescriptors) {
		l.files = descriptor.NewReader(unix, ErrProtocol)
		l.reader = wire.NewReader(bufio.NewReaderSize(l.files, 64<<10), nil)
		return l
	}
	own.Features &^= wire.FeatureDescriptors
	quick := sysio.New(conn)
	l.conn, l.reader = quick, wire.NewReader(bufio.NewReaderSize(quick, 64<<10), nil)
	return l
}

// Greet says HELLO on a connection that this side has dialled, and waits for the answer. After an
// error the caller closes the connection. The error wraps ErrRefused if the other side has refused.
func Greet(conn net.Conn, own wire.Offer, token string) (*Line, error) {
	l := newLine(conn, &own)
	frame, err := l.exchange(conn, wire.AppendHello(nil, wire.HelloPayload{
		Versions: wire.Supported, PID: uint32(os.Getpid()), Token: token, Offer: own,
	}))
	if err != nil {
		return nil, fmt.Errorf("mux: no answer to HELLO: %w", err)
	}
	switch frame.Type {
	case wire.Welcome:
		w, err := wire.DecodeWelcome(frame.Payload)
		if err != nil {
			return nil, err
		}
		l.terms, err = wire.Accept(own, w)
		return l, err
	case wire.Refused:
		return nil, fmt.Errorf("%w: %s", ErrRefused, frame.Payload)
	}
	return nil, fmt.Errorf("%w: %s instead of WELCOME", ErrProtocol, frame.Type)
}

// Answer waits for HELLO on a connection that the other side has dialled, and answers it. need are the
// features that must be in use. check looks at the token and at the peer; its error is the reason of the
// refusal. After an error the caller closes the connection.
func Answer(conn net.Conn, own wire.Offer, need wire.Features, check func(wire.HelloPayload) error) (*Line, error) {
	l := newLine(conn, &own)
	frame, err := l.exchange(conn, nil)
	if err != nil {
		return nil, fmt.Errorf("mux: no HELLO: %w", err)
	}
	if frame.Type != wire.Hello {
		return nil, fmt.Errorf("%w: %s instead of HELLO", ErrProtocol, frame.Type)
	}
	hello, err := wire.DecodeHello(frame.Payload)
	if err == nil {
		l.terms, err = wire.Agree(own, need, hello)
	}
	if err == nil && check != nil {
		err = check(hello)
	}
	if err != nil {
		_, writeErr := conn.Write(wire.AppendFrame(nil, wire.Refused, 0, 0, []byte(err.Error())))
		return nil, errors.Join(fmt.Errorf("mux: refused a connection: %w", err), writeErr)
	}
	_, err = conn.Write(wire.AppendWelcome(nil, l.terms.Welcome(os.Getpid())))
	return l, err
}

// exchange writes b and reads one frame, within greetTime.
func (l *Line) exchange(conn net.Conn, b []byte) (wire.Frame, error) {
	if err := conn.SetDeadline(time.Now().Add(greetTime)); err != nil {
		return wire.Frame{}, err
	}
	if len(b) > 0 {
		if _, err := conn.Write(b); err != nil {
			return wire.Frame{}, err
		}
	}
	frame, err := l.reader.Next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame, err
	}
	return frame, conn.SetDeadline(time.Time{})
}
