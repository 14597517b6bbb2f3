package session_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/internal/storetest"
)

// call is what a handler of a test works with.
type call struct {
	*session.Session
	ctx   context.Context
	scope *pagi.Scope
	send  pagi.Send
}

func (c *call) start() error {
	return c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")})
}

func (c *call) body(s string) error {
	return c.send(c.ctx, pagi.HTTPResponseBody{Body: []byte(s)})
}

// pages answers each path with the text that its handler returns. A handler that has begun the
// response itself returns errSent.
type pages map[string]func(c *call) (string, error)

var errSent = errors.New("sent")

func (p pages) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return pagi.Unsupported(scope)
	}
	s, ok := session.FromScope(scope)
	if !ok {
		return errors.New("no session in the scope")
	}
	c := &call{s, ctx, scope, send}
	text, err := p[scope.Path](c)
	switch {
	case err == errSent:
		return nil
	case err != nil:
		return err
	}
	if err := c.start(); err != nil {
		return err
	}
	return c.body(text)
}

// counted counts what a Manager asks of a store, and fails if told so.
type counted struct {
	session.Store
	loads, saves, touches, deletes atomic.Int32

	mu   sync.Mutex
	fail map[string]error // by method
	hook map[string]func()
}

func (c *counted) before(method string, n *atomic.Int32) error {
	n.Add(1)
	c.mu.Lock()
	hook, err := c.hook[method], c.fail[method]
	c.mu.Unlock()
	if hook != nil {
		hook()
	}
	return err
}

func (c *counted) Load(ctx context.Context, token string) (*session.Record, error) {
	if err := c.before("load", &c.loads); err != nil {
		return nil, err
	}
	return c.Store.Load(ctx, token)
}

func (c *counted) Save(ctx context.Context, rec *session.Record) (string, error) {
	if err := errors.Join(c.before("save", &c.saves), ctx.Err()); err != nil {
		return "", err
	}
	return c.Store.Save(ctx, rec)
}

func (c *counted) Touch(ctx context.Context, rec *session.Record) (string, error) {
	if err := c.before("touch", &c.touches); err != nil {
		return "", err
	}
	return c.Store.Touch(ctx, rec)
}

func (c *counted) Delete(ctx context.Context, id string, version uint64) error {
	if err := c.before("delete", &c.deletes); err != nil {
		return err
	}
	return c.Store.Delete(ctx, id, version)
}

// calls returns how often each method was called since the last time.
func (c *counted) calls() [4]int32 {
	return [4]int32{c.loads.Swap(0), c.saves.Swap(0), c.touches.Swap(0), c.deletes.Swap(0)}
}

// fixture is a Manager with a Memory behind a counter, and a clock.
type fixture struct {
	*pagitest.Client
	store   *counted
	clock   *storetest.Clock
	manager session.Manager
}

func newFixture(app pages, edit ...func(*session.Manager)) *fixture {
	clock := storetest.NewClock(epoch)
	store := &counted{Store: &session.Memory{Now: clock.Now}}
	m := session.Manager{Store: store, Now: clock.Now}
	for _, f := range edit {
		f(&m)
	}
	return &fixture{Client: pagitest.New(m.Wrap(app)), store: store, clock: clock, manager: m}
}

// get returns the text of a page that must be there.
func (f *fixture) get(t *testing.T, path string) string {
	t.Helper()
	res := f.Get(path)
	if res.Err != nil || res.Status != 200 {
		t.Fatalf("%s: %d %v", path, res.Status, res.Err)
	}
	return res.Text()
}

func cookies(res *pagitest.Response) []string {
	return slices.Collect(res.Headers.Values("set-cookie"))
}

// basics are handlers that many tests use.
func basics() pages {
	return pages{
		"/plain": func(*call) (string, error) { return "plain", nil },
		"/login": func(c *call) (string, error) {
			return "hello", errors.Join(c.Regenerate(), c.Set("user", "ann"))
		},
		"/user": func(c *call) (string, error) { return c.GetOr("user", "nobody").(string), nil },
		"/id":   func(c *call) (string, error) { return c.ID(), nil },
		"/count": func(c *call) (string, error) {
			n, err := session.Value[int](c.Session, "n")
			var missing *session.KeyError
			if err != nil && !(errors.As(err, &missing) && missing.Missing) {
				return "", err
			}
			return string(rune('0' + n + 1)), c.Set("n", n+1)
		},
		"/logout": func(c *call) (string, error) { return "bye", c.Destroy() },
	}
}

const idleTouch = session.DefaultIdle / 20
