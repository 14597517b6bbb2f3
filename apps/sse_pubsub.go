package apps

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

// EventMissed is the name of the event that tells a client of SSEPubsub that messages were lost for
// it.
const EventMissed = "missed"

// SSEPubsub sends the messages of a channel to every client as an event stream.
//
//	pubsub.Default.Publish(ctx, "news", pubsub.Message{Name: "headline", Data: "It works"})
//
// The name of a message is that of the event, and its id the event's id. A binary message comes in
// base64. With History, a client that connects again gets what it has missed, by the header
// Last-Event-ID. If that is not kept any more, an event "missed" comes first. Heartbeats are those
// of the middleware SSEHeartbeat.
type SSEPubsub struct {
	Feed `yaml:",inline"`
	// Retry is how long a client waits before it connects again; it learns that with the first event.
	// 0 leaves it to the client.
	Retry time.Duration `yaml:"retry"`
	// Headers go into the response.
	Headers map[string]string `yaml:"headers"`
	// OnConnect and OnClose are called for each client that was subscribed.
	OnConnect func(scope *pagi.Scope, channel string) `yaml:"-"`
	OnClose   func(scope *pagi.Scope, channel string) `yaml:"-"`
}

func init() { parts.App[SSEPubsub]("sse_pubsub", "channel") }

// Check reports options that cannot work.
func (p *SSEPubsub) Check() error {
	return errors.Join(p.check(), checkStream(p.Retry, p.Headers))
}

// checkStream checks the options that event streams share.
func checkStream(retry time.Duration, headers map[string]string) error {
	var errs []error
	if retry < 0 {
		errs = append(errs, pagi.BadOption("retry", "must not be below 0, is %v", retry))
	}
	for name := range headers {
		if err := streamHeaders(map[string]string{name: headers[name]}).Validate(""); err != nil {
			errs = append(errs, pagi.BadOption("headers", "%w", err))
		}
	}
	return errors.Join(errs...)
}

// streamHeaders returns headers in the order of their names.
func streamHeaders(headers map[string]string) (all pagi.Headers) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		all = append(all, pagi.Header{Name: strings.ToLower(name), Value: headers[name]})
	}
	return all
}

// Serve answers an sse scope with the stream. A request that does not accept one gets 406, a
// WebSocket 404.
func (p *SSEPubsub) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return serveLife(ctx, scope, receive, send, p.Check, p.keep)
	}
	if done, err := refuseStream(ctx, scope, send); done {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	channel, err := p.open(ctx, scope)
	if err != nil {
		return refuseFeed(ctx, scope, send, err)
	}
	return p.serve(ctx, scope, receive, send, channel)
}

// refuseStream answers a scope in which there can be no event stream.
func refuseStream(ctx context.Context, scope *pagi.Scope, send pagi.Send) (done bool, err error) {
	switch {
	case scope.Type == pagi.TypeWebSocket:
		return true, reply.Status(ctx, scope, send, http.StatusNotFound)
	case scope.Type == pagi.TypeHTTP && scope.Method != http.MethodGet && scope.Method != http.MethodHead,
		scope.Type == pagi.TypeSSE && scope.Method != http.MethodGet:
		return true, reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET")
	case scope.Type == pagi.TypeHTTP:
		return true, reply.Text(ctx, scope, send, http.StatusNotAcceptable, "This is an event stream: send the header accept: text/event-stream.")
	case scope.Type != pagi.TypeSSE:
		return true, pagi.Unsupported(scope)
	}
	return false, nil
}

func (p *SSEPubsub) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, channel string) error {
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	stream := sse.New(life, scope, receive, func(life context.Context, ev pagi.Event) error {
		if _, is := ev.(pagi.SSEStart); is { // also for a client that is found too slow before it
			return send(ctx, ev)
		}
		return send(life, ev)
	})
	limits := p.limits()
	limits.Ended = endSlow(end)
	sub, err := p.subscribe(ctx, stream.LastEventID(), channel, pubsub.NewQueue(limits))
	if err != nil {
		return refuseFeed(ctx, scope, send, err)
	}
	defer sub.Close()
	defer sub.Queue().Close()
	if p.Retry > 0 {
		stream.Retry(p.Retry)
	}
	if err := stream.Start(0, streamHeaders(p.Headers)); err != nil {
		return leftIsNil(ctx, err)
	}
	if p.OnConnect != nil {
		p.OnConnect(scope, channel)
	}
	if p.OnClose != nil {
		defer p.OnClose(scope, channel)
	}
	if p.History > 0 && sub.Missed() {
		if err := stream.Send(sse.Event{Name: EventMissed, Data: channel}); err != nil {
			return endOfFeed(life, err)
		}
	}
	for {
		m, err := sub.Next(life)
		if err == nil {
			err = stream.Send(eventOf(&m))
		}
		if err != nil {
			return endOfFeed(life, err)
		}
	}
}

// subscribe begins the subscription of a client that has had the event last.
func (p *SSEPubsub) subscribe(ctx context.Context, last, channel string, queue *pubsub.Queue) (*pubsub.Subscription, error) {
	if err := p.keep(); err != nil {
		return nil, err
	}
	options := pubsub.Options{Queue: queue}
	if p.History > 0 {
		options.After, options.Last = last, 0
		if last != "" {
			options.Last = p.History
		}
	}
	return p.broker().Subscribe(ctx, channel, options)
}

// eventOf returns a message as an event.
func eventOf(m *pubsub.Message) sse.Event {
	e := sse.Event{Name: m.Name, Data: m.Data, ID: m.ID}
	if m.Binary {
		e.Data = base64.StdEncoding.EncodeToString([]byte(m.Data))
	}
	return e
}

// endSlow returns a function for pubsub.Limits.Ended that ends the work for a client which is too
// slow, so that a send that waits for it returns. A Queue whose Broker has closed is emptied first.
func endSlow(end context.CancelCauseFunc) func(error) {
	return func(err error) {
		if errors.Is(err, pubsub.ErrSlow) {
			end(err)
		}
	}
}

// endOfFeed returns the error with which the work for a client has ended; nil if that is no
// failure.
func endOfFeed(life context.Context, err error) error {
	var ended *sse.CloseError
	if life.Err() != nil || errors.Is(err, pubsub.ErrSlow) || errors.Is(err, pubsub.ErrClosed) || errors.As(err, &ended) {
		return nil
	}
	return err
}
