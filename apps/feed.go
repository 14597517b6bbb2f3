package apps

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/seal"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// Feed is the channel to which SSEPubsub and WebSocketBroadcast subscribe their clients.
type Feed struct {
	// Channel is the name of the channel; "" means "default".
	Channel string `yaml:"channel"`
	// ByPath makes the path below the mount part of the name: with the channel "news", /events/sport
	// of a mount at /events is the channel "news/sport". Without Channel it is "sport". The path of
	// the mount itself is 404.
	ByPath bool `yaml:"by_path"`
	// Secrets make a token necessary, as the parameter "token" of the query: see SubscribeToken. Each
	// has 32 bytes at least. To change one, put the new one first.
	Secrets []string `yaml:"secrets"`
	// History is how many messages of the channel are kept for new clients; 0 means none.
	History int `yaml:"history"`
	// HistoryAge is how long a message is kept; 0 means an hour.
	HistoryAge time.Duration `yaml:"history_age"`
	// Authorize is asked before a client is subscribed. It refuses with a *pagi.StatusError, 403 for
	// example. Another error is returned to the server.
	Authorize func(ctx context.Context, scope *pagi.Scope, channel string) error `yaml:"-"`
	// Broker has the channels; nil means pubsub.Default.
	Broker pubsub.Broker `yaml:"-"`
	// Buffer bounds what waits for a slow client.
	Buffer `yaml:",inline"`

	ringOnce sync.Once
	ring     *seal.Ring
}

// Buffer bounds the messages that wait for a client which does not read as fast as they come. The
// connection has a buffer of its own besides.
type Buffer struct {
	// Messages is how many wait; 0 means 256.
	Messages int `yaml:"buffer_messages"`
	// Bytes is the size of what waits; 0 means 1 MiB.
	Bytes int64 `yaml:"buffer_bytes" unit:"bytes"`
	// Slow says what happens when more comes: "drop", the default, drops the oldest messages, "close"
	// ends the connection.
	Slow string `yaml:"slow"`
}

func (b *Buffer) check() error {
	var errs []error
	if b.Messages < 0 {
		errs = append(errs, pagi.BadOption("buffer_messages", "must not be below 0, is %d", b.Messages))
	}
	if b.Bytes < 0 {
		errs = append(errs, pagi.BadOption("buffer_bytes", "must not be below 0, is %d", b.Bytes))
	}
	if !slices.Contains([]string{"", "drop", "close"}, b.Slow) {
		errs = append(errs, pagi.BadOption("slow", "must be drop or close, is %q", b.Slow))
	}
	return errors.Join(errs...)
}

func (b *Buffer) limits() pubsub.Limits {
	l := pubsub.Limits{Messages: b.Messages, Bytes: int(b.Bytes)}
	if b.Slow == "close" {
		l.Policy = pubsub.Shed
	}
	return l
}

// minSubscribeSecret is the smallest of Feed.Secrets in bytes.
const minSubscribeSecret = 32

// errToken says that a token is missing, wrong or too old.
var errToken = &pagi.StatusError{Status: http.StatusForbidden, Message: "This channel needs a valid token."}

func (f *Feed) check() error {
	errs := []error{f.Buffer.check()}
	if f.Channel != "" {
		if err := pubsub.CheckName(f.Channel); err != nil {
			errs = append(errs, pagi.BadOption("channel", "%w", err))
		}
		if strings.HasSuffix(f.Channel, "*") {
			errs = append(errs, pagi.BadOption("channel", "must not end in *"))
		}
	}
	for i, secret := range f.Secrets {
		if len(secret) < minSubscribeSecret {
			errs = append(errs, pagi.BadOption("secrets", "number %d has %d bytes; it needs %d", i+1, len(secret), minSubscribeSecret))
		} else if slices.Index(f.Secrets, secret) < i {
			errs = append(errs, pagi.BadOption("secrets", "number %d is there twice", i+1))
		}
	}
	if f.History < 0 || f.History > pubsub.MaxHistoryMessages {
		errs = append(errs, pagi.BadOption("history", "must be 0 to %d, is %d", pubsub.MaxHistoryMessages, f.History))
	}
	if f.HistoryAge < 0 {
		errs = append(errs, pagi.BadOption("history_age", "must not be below 0, is %v", f.HistoryAge))
	}
	return errors.Join(errs...)
}

func (f *Feed) broker() pubsub.Broker { return brokerOr(f.Broker) }

func brokerOr(b pubsub.Broker) pubsub.Broker {
	if b == nil {
		return pubsub.Default
	}
	return b
}

// keep makes the channels keep their history.
func (f *Feed) keep() error {
	if f.History == 0 {
		return nil
	}
	name := or(f.Channel, "default")
	if f.ByPath {
		name = strings.TrimPrefix(f.Channel+"/*", "/")
	}
	return f.broker().Keep(name, pubsub.History{Messages: f.History, Age: f.HistoryAge})
}

// serveLife answers a lifespan scope: check reports wrong options, and start prepares.
func serveLife(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, check, start func() error) error {
	if err := check(); err != nil {
		return lifespan.Broken(err).Serve(ctx, scope, receive, send)
	}
	declines := pagi.AppFunc(func(_ context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		return pagi.Unsupported(scope)
	})
	hooks := lifespan.Hooks{Startup: []func(context.Context, map[string]any) error{
		func(context.Context, map[string]any) error { return start() },
	}}
	return hooks.Wrap(declines).Serve(ctx, scope, receive, send)
}

// open returns the channel of a request whose client may subscribe. The error is a
// *pagi.StatusError, or that of Authorize.
func (f *Feed) open(ctx context.Context, scope *pagi.Scope) (channel string, err error) {
	channel = or(f.Channel, "default")
	if f.ByPath {
		below := strings.Trim(scope.Path, "/")
		channel = strings.TrimPrefix(f.Channel+"/"+below, "/")
		if below == "" || pubsub.CheckName(channel) != nil {
			return "", &pagi.StatusError{Status: http.StatusNotFound, Message: http.StatusText(http.StatusNotFound)}
		}
	}
	if len(f.Secrets) > 0 && !f.hasToken(scope, channel) {
		return "", errToken
	}
	if f.Authorize != nil {
		return channel, f.Authorize(ctx, scope, channel)
	}
	return channel, nil
}

// hasToken reports whether the request has a token for the channel that is still valid.
func (f *Feed) hasToken(scope *pagi.Scope, channel string) bool {
	query, err := url.ParseQuery(scope.QueryString)
	if err != nil {
		return false
	}
	f.ringOnce.Do(func() { f.ring = tokenRing(f.Secrets...) })
	if f.ring == nil {
		return false
	}
	plain, ok := f.ring.Verify(channel, query.Get("token"))
	if !ok {
		return false
	}
	expires, err := strconv.ParseInt(string(plain), 10, 64)
	return err == nil && time.Now().Unix() < expires
}

// tokenRing returns what makes and verifies tokens; nil where that cannot be.
func tokenRing(secrets ...string) *seal.Ring {
	keys := make([]seal.Key, len(secrets))
	for i, secret := range secrets {
		sum := sha256.Sum256([]byte("pagi subscribe key\n" + secret))
		keys[i] = seal.Key{ID: base64.RawURLEncoding.EncodeToString(sum[:6]), Secret: []byte(secret)}
	}
	ring, err := seal.NewRing("subscribe", keys...)
	if err != nil {
		return nil
	}
	return ring
}

// SubscribeToken returns a token with which a client may subscribe to a channel until expires. It
// goes into the parameter "token" of the query, of an application with that secret among its
// Secrets. A connection that was made with it may last longer. It holds an HMAC-SHA256 of the
// channel and the time; docs/site.md shows how to make it in Perl.
func SubscribeToken(secret, channel string, expires time.Time) string {
	return tokenRing(secret).Sign(channel, strconv.AppendInt(nil, expires.Unix(), 10))
}

// refuseFeed answers for a client that is not subscribed. An error that stands for no status is
// returned, unless the client has left.
func refuseFeed(ctx context.Context, scope *pagi.Scope, send pagi.Send, err error) error {
	var status *pagi.StatusError
	switch {
	case errors.As(err, &status):
	case errors.Is(err, pubsub.ErrTooMany):
		status = &pagi.StatusError{Status: http.StatusServiceUnavailable, Message: "There are too many channels."}
	default:
		return leftIsNil(ctx, err)
	}
	headers := append(pagi.NewHeaders("content-type", "text/plain; charset=utf-8"), status.Headers...)
	return reply.Send(ctx, scope, send, status.Status, headers, []byte(or(status.Message, http.StatusText(status.Status))+"\n"))
}
