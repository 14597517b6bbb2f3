// Package redisstore keeps sessions in Redis 4 or later, or in a server that speaks its protocol.
//
//	session.Manager{Store: &redisstore.Store{URL: "redis://localhost:6379/0"}}
//
// Files: redisstore.go the store, scripts.go what Redis runs.
package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/redisclient"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// DefaultPrefix is in front of the ids in the keys of Redis unless Store.Prefix is set.
const DefaultPrefix = "pagi_session:"

// ErrNotOpen says that there is no client. A Manager makes it of a URL in the lifespan scope.
var ErrNotOpen = errors.New("redisstore: not open")

// Store keeps each session in a hash, with these fields. Times are Unix times in milliseconds.
//
//	version   a number
//	created   when the session got its id
//	used      when it was last used
//	deadline  when it expires; 0: never
//	data      the values, a JSON object
//
// Redis removes a session at its deadline, by the clock of its own machine. Every script uses one
// key, so the store works with a cluster. A Store must not be copied.
type Store struct {
	// URL is the address, redis://user:password@host:port/db, rediss:// for TLS, or unix:///path. See
	// redis.ParseURL.
	URL string
	// Client takes the place of URL. The store does not close it. It should not retry
	// (redis.Options.MaxRetries -1): a save that was repeated after its answer was lost looks like a
	// conflict.
	Client redis.UniversalClient
	// Prefix is in front of the ids; "" means DefaultPrefix.
	Prefix string

	mu  sync.Mutex
	own redis.UniversalClient // made of URL; nil: not open
}

var (
	_ session.Store  = (*Store)(nil)
	_ session.Opener = (*Store)(nil)
)

// Check reports a URL that is wrong, and a Store with both or none of URL and Client.
func (s *Store) Check() error {
	if (s.URL == "") == (s.Client == nil) {
		return pagi.BadOption("url", "either the URL or a client is needed")
	}
	if s.Client != nil {
		return nil
	}
	if _, err := redisclient.Options(s.URL); err != nil {
		return pagi.BadOption("url", "it is wrong: %w", err)
	}
	return nil
}

// Open makes a client of URL, and asks Redis for a sign of life.
func (s *Store) Open(ctx context.Context) error {
	if err := s.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.Client
	if client == nil && s.own == nil {
		options, err := redisclient.Options(s.URL)
		if err != nil {
			return err
		}
		s.own = redis.NewClient(options)
	}
	if client == nil {
		client = s.own
	}
	if err := client.Ping(ctx).Err(); err != nil {
		return errors.Join(fmt.Errorf("redisstore: %w", err), s.closeLocked())
	}
	return nil
}

// Close closes the client that Open has made.
func (s *Store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeLocked()
}

func (s *Store) closeLocked() error {
	client := s.own
	s.own = nil
	if client == nil {
		return nil
	}
	return client.Close()
}

func (s *Store) client() (redis.UniversalClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.Client != nil:
		return s.Client, nil
	case s.own != nil:
		return s.own, nil
	}
	return nil, ErrNotOpen
}

func (s *Store) key(id string) string {
	if s.Prefix != "" {
		return s.Prefix + id
	}
	return DefaultPrefix + id
}

// Load implements session.Store.
func (s *Store) Load(ctx context.Context, id string) (*session.Record, error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	fields, err := client.HGetAll(ctx, s.key(id)).Result()
	switch {
	case err != nil:
		return nil, failed(err)
	case len(fields) == 0:
		return nil, session.ErrNotFound
	}
	rec, err := decode(id, fields)
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w: %w", session.ErrCorrupt, err)
	}
	return rec, nil
}

// Save implements session.Store.
func (s *Store) Save(ctx context.Context, rec *session.Record) (string, error) {
	data, err := json.Marshal(rec.Data)
	if err != nil {
		return "", err
	}
	err = s.run(ctx, saveScript, rec.ID, rec.Version, rec.Version+1, millis(rec.Created), millis(rec.Used), millis(rec.Deadline), data)
	if err != nil {
		return "", err
	}
	rec.Version++
	return rec.ID, nil
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, rec *session.Record) (string, error) {
	if err := s.run(ctx, touchScript, rec.ID, millis(rec.Used), millis(rec.Deadline)); err != nil {
		return "", err
	}
	return rec.ID, nil
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, id string, version uint64) error {
	return s.run(ctx, deleteScript, id, version)
}

// run runs a script that returns one of the results of scripts.go.
func (s *Store) run(ctx context.Context, script *redis.Script, id string, args ...any) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	result, err := script.Run(ctx, client, []string{s.key(id)}, args...).Text()
	switch {
	case err != nil:
		return failed(err)
	case result == resultMissing:
		return session.ErrNotFound
	case result == resultConflict:
		return session.ErrConflict
	case result != resultDone:
		return fmt.Errorf("redisstore: a script returned %q", result)
	}
	return nil
}

// failed wraps an error of the client. A key that is no hash is ErrCorrupt.
func failed(err error) error {
	if strings.Contains(err.Error(), "WRONGTYPE") {
		return fmt.Errorf("redisstore: %w: %w", session.ErrCorrupt, err)
	}
	return fmt.Errorf("redisstore: %w", err)
}

func decode(id string, fields map[string]string) (*session.Record, error) {
	version, err := strconv.ParseUint(fields["version"], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	rec := &session.Record{ID: id, Version: version}
	for name, to := range map[string]*time.Time{"created": &rec.Created, "used": &rec.Used, "deadline": &rec.Deadline} {
		ms, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if ms != 0 {
			*to = time.UnixMilli(ms)
		}
	}
	if err := json.Unmarshal([]byte(fields["data"]), &rec.Data); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return rec, nil
}

// millis returns t as Unix milliseconds, and 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
