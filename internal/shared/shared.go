// Package shared is what the processes of a site have in common: a cache, locks, and a way to publish messages. Workers reach
// it over a Unix socket of the gateway. PROTOCOL.md says what is spoken there; perl/lib/PagiBridge/Shared.pm is the client.
//
// What belongs together is a Space: a cache and a set of locks. Each mount has one, or several mounts have one together.
//
// Which file does what: shared.go has the spaces and who may use them, server.go the socket, conn.go one connection, frame.go
// the frames, cache.go the cache of a space, lock.go its locks. The package knows no mounts and no channels: it gets names
// and a function that publishes.
package shared

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Limits.
const (
	// DefaultSize is the size of a cache without another one.
	DefaultSize = 64 << 20
	// MaxName is the length of a key, or of the name of a lock, in bytes.
	MaxName = 250
	// MaxValue is the length of a value in bytes.
	MaxValue = 1 << 20
	// MaxKeys is how many keys one call may name.
	MaxKeys = 1000
	// MaxMessage is the length of a message that is published, in bytes.
	MaxMessage = 1 << 20
	// MaxHold is how long a lock can be held.
	MaxHold = 24 * time.Hour
	// maxTTL is the longest time that a value is kept. A longer one counts as none.
	maxTTL = 10 * 365 * 24 * time.Hour
	// maxLocks is how many locks of a space may be held at once, and how many calls may wait for them.
	maxLocks = 10_000
	// maxConns is how many connections the processes of one Access may have open.
	maxConns = 1024
	// maxStrangers is how many connections may be open that have not said their token.
	maxStrangers = 64
)

// Message is what a process publishes.
type Message struct {
	Channel, Event, Data string
	Binary               bool
}

// BadMessage is the error for a message that can never be published.
type BadMessage struct{ Err error }

func (e *BadMessage) Error() string { return e.Err.Error() }

func (e *BadMessage) Unwrap() error { return e.Err }

// Options configure a Server.
type Options struct {
	// Publish passes a message on, and returns its id. The error may be a BadMessage. Nil: no message can be published.
	Publish func(context.Context, Message) (id string, err error)
	// Logger is told of connections that break the protocol. Nil means slog.Default.
	Logger *slog.Logger
}

// Server has the spaces, and the socket from Listen to Close. Spaces last as long as the Server.
type Server struct {
	opt Options
	*socket

	mu     sync.Mutex
	size   int64 // of each cache
	spaces map[string]*Space
	grants map[string]*Access // by their tokens
}

// New returns a Server that does not listen.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{opt: o, size: DefaultSize, spaces: map[string]*Space{}, grants: map[string]*Access{}}
	s.socket = newSocket(s)
	return s
}

// Resize sets the size of each cache in bytes; 0 stands for DefaultSize. What does not fit any more is dropped.
func (s *Server) Resize(size int64) {
	if size == 0 {
		size = DefaultSize
	}
	s.mu.Lock()
	s.size = size
	all := slices.Collect(maps.Values(s.spaces))
	s.mu.Unlock()
	for _, sp := range all {
		sp.cache.resize(size)
	}
}

// Space is a cache and a set of locks.
type Space struct {
	name  string
	cache *cache
	locks *locks
}

// spaceLocked returns the space with a name, which it makes if there is none.
func (s *Server) spaceLocked(name string) *Space {
	sp := s.spaces[name]
	if sp == nil {
		sp = &Space{name: name, cache: newCache(s.size), locks: newLocks()}
		s.spaces[name] = sp
	}
	return sp
}

// Access is the right to use a space. Its holders know its token.
type Access struct {
	server *Server
	space  *Space
	name   string // of its holders, for logs
	token  string
	conns  int // guarded by socket.mu
}

// Access returns the right of a holder to use a space. The same two names give the same Access.
func (s *Server) Access(holder, space string) *Access {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.grants {
		if a.name == holder && a.space.name == space {
			return a
		}
	}
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // it never fails
	a := &Access{server: s, space: s.spaceLocked(space), name: holder, token: hex.EncodeToString(secret)}
	s.grants[a.token] = a
	return a
}

// Address is what a process must know to use the space: the path of the socket, a space and the token. It is "" while the
// Server does not listen, and for a nil Access.
func (a *Access) Address() string {
	if a == nil {
		return ""
	}
	path := a.server.path()
	if path == "" {
		return ""
	}
	return path + " " + a.token
}

// admit returns the Access of a token, nil for a wrong one.
func (s *Server) admit(token string) *Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grants[token]
}

// Status describes the spaces that were used.
func (s *Server) Status() (list []status.Space) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	all := maps.Clone(s.spaces)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		one := status.Space{Namespace: name}
		all[name].cache.describe(&one)
		all[name].locks.describe(&one)
		if one != (status.Space{Namespace: name, Size: one.Size}) {
			list = append(list, one)
		}
	}
	return list
}
