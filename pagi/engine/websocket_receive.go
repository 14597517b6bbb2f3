package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// receive is the application's Receive. Messages that came before the end are
// delivered before it.
func (s *WebSocketSession) receive(ctx context.Context) (pagi.Event, error) {
	s.receives.Lock()
	defer s.receives.Unlock()
	for {
		ev, err := s.next()
		if ev != nil || err != nil {
			return ev, err
		}
		if err := s.await(ctx); err != nil {
			return nil, err
		}
	}
}

// next returns the event that is ready; nil where none is.
func (s *WebSocketSession) next() (pagi.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.asked && s.end == nil:
		s.asked = true
		return pagi.WebSocketConnect{}, nil
	case s.head < len(s.queue):
		return s.takeLocked(), nil
	case s.end != nil:
		return pagi.WebSocketDisconnect{Code: s.end.Code, Reason: s.end.Reason}, nil
	case s.phase == wsClosed403:
		return pagi.WebSocketDisconnect{Code: closeAbnormal}, nil
	case s.phase == wsRefused:
		return nil, errRefused
	}
	return nil, nil
}

// takeLocked takes a message out of the queue, which is not empty.
func (s *WebSocketSession) takeLocked() pagi.WebSocketReceive {
	m := s.queue[s.head]
	s.queue[s.head] = pagi.WebSocketReceive{}
	s.taken = true
	if s.head++; s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
		if cap(s.queue) > 16 {
			s.queue = nil // it was a burst
		}
	}
	s.queued -= len(m.Text) + len(m.Bytes)
	if s.paused && s.queued < readAhead {
		s.paused = false
		signal(s.room)
	}
	return m
}

// await waits for something that may have made an event ready.
func (s *WebSocketSession) await(ctx context.Context) error {
	s.mu.Lock()
	var gone <-chan struct{}
	if s.isUnanswered() {
		gone = s.Handshake.Gone()
	}
	s.waiting = s.head == len(s.queue)
	if s.settling && s.waiting {
		signal(s.room)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.waiting = false
		s.mu.Unlock()
	}()
	select {
	case <-s.wake:
	case <-gone:
		s.mu.Lock()
		unanswered := s.isUnanswered() // else it is the response that has ended
		s.mu.Unlock()
		if unanswered {
			s.finish(&WebSocketEnd{Code: closeAbnormal, Reason: s.Handshake.GoneReason()})
		}
	case <-ctx.Done():
		select {
		case <-s.wake: // the event that ended ctx may be there already
			return nil
		default:
		}
		err := context.Cause(ctx)
		var gone *pagi.DisconnectError
		if errors.As(err, &gone) { // it is the connection that has ended, and ctx told first
			s.Cut(gone.Reason)
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.end == nil {
			return err
		}
	}
	return nil
}

// isUnanswered reports whether the handshake is. mu is held.
func (s *WebSocketSession) isUnanswered() bool {
	return s.phase == wsConnecting || s.phase == wsAccepting
}

// readAll takes the client's messages in, until the connection ends.
func (s *WebSocketSession) readAll(conn WebSocketConn) {
	defer close(s.read)
	for {
		m, err := conn.Receive()
		if err == nil {
			err = s.push(m)
		}
		if err == nil {
			continue
		}
		end := &WebSocketEnd{Code: closeAbnormal, Reason: pagi.ReasonReadError}
		errors.As(err, &end)
		if end.Peer || end.Reason == pagi.ReasonProtocolError {
			s.settle()
		}
		if end.Answer != 0 {
			conn.SendClose(end.Answer, end.Text)
		}
		s.finish(end)
		if end.Answer != 0 {
			conn.Close()
		} else {
			conn.Drop()
		}
		return
	}
}

// settle waits until the application has dealt with what came before a Close frame, or
// before what broke the protocol, so that its answers still reach the client; but only
// for a moment.
func (s *WebSocketSession) settle() {
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	for {
		s.mu.Lock()
		busy := s.head < len(s.queue) || s.taken && !s.waiting
		s.settling = busy && !s.returned && s.end == nil && s.phase == wsOpen
		wait := s.settling
		s.mu.Unlock()
		if !wait {
			return
		}
		select {
		case <-s.room:
		case <-timer.C:
			return
		}
	}
}

// push puts a message into the queue and waits while there is too much in it.
func (s *WebSocketSession) push(m pagi.WebSocketReceive) error {
	s.mu.Lock()
	if s.phase != wsOpen || s.returned || s.end != nil { // no goroutine will take it
		s.mu.Unlock()
		return nil
	}
	limit := s.MaxQueue
	if limit == 0 {
		limit = DefaultMaxReceiveQueue
	}
	if limit > 0 && len(s.queue)-s.head >= limit {
		s.mu.Unlock()
		return &WebSocketEnd{Code: closePolicy, Reason: pagi.ReasonQueueOverflow, Answer: closePolicy, Text: "message queue overflow", Option: optionMaxReceiveQueue}
	}
	if s.head > 0 && len(s.queue) == cap(s.queue) {
		s.queue = s.queue[:copy(s.queue, s.queue[s.head:])]
		s.head = 0
	}
	s.queue = append(s.queue, m)
	s.queued += len(m.Text) + len(m.Bytes)
	s.paused = s.queued >= readAhead
	s.mu.Unlock()
	signal(s.wake)
	s.awaitRoom()
	return nil
}

// awaitRoom waits while the queue holds too many bytes and the application may still take them.
func (s *WebSocketSession) awaitRoom() {
	for {
		s.mu.Lock()
		wait := s.paused && !s.gone && !s.returned && s.end == nil && s.phase == wsOpen
		s.mu.Unlock()
		if !wait {
			return
		}
		<-s.room
	}
}
