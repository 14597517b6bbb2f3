package engine

import "github.com/pagi-go/pagi-bridge/pagi"

// What the tests, which stand outside of the package, see of its inside.

const ReadAhead = readAhead

var (
	ErrRefused        = errRefused
	DistinguishedName = distinguishedName
)

// IsReading reports whether a Receive of the scope waits for the client.
func IsReading(scope *pagi.Scope) bool {
	return (*exchange)(scope.Transport.(*appTransport)).reading.Load()
}

// HasDirtyQueue reports whether something waits to be written behind what is being written.
func HasDirtyQueue(scope *pagi.Scope) bool {
	q := (*exchange)(scope.Transport.(*appTransport)).outbound()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dirty
}

// IsPaused reports whether the session's reader waits for room.
func (s *WebSocketSession) IsPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused
}

// IsWaiting reports whether the session's application waits in Receive.
func (s *WebSocketSession) IsWaiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Lose tells the session that its client has left.
func (s *WebSocketSession) Lose() { s.lost() }
