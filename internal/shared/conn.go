package shared

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

const (
	// greetTime is how long a connection may take to say its token.
	greetTime = 5 * time.Second
	// writeTime is how long a process may take to read an answer.
	writeTime = 5 * time.Second
	// publishTime is how long a message may take to be published.
	publishTime = 5 * time.Second
	// maxWaits is how many calls of a connection may wait for locks.
	maxWaits = 64
)

// conn is a connection of a process. Its calls are answered in their order, but those that wait for locks.
type conn struct {
	server *Server
	net    *net.UnixConn
	access *Access
	peer   *peer

	ctx   context.Context // of calls that wait
	waits sync.WaitGroup
	slots chan struct{} // of calls that wait

	mu  sync.Mutex // held while an answer is written
	out []byte
}

// serve answers calls until the connection ends. An error tells of a process that breaks the protocol.
func (c *conn) serve(ctx context.Context, greeted func(*Access) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	c.ctx, c.slots = ctx, make(chan struct{}, maxWaits)
	r := bufio.NewReaderSize(c.net, 16<<10)
	ok, err := c.greet(r, greeted)
	if ok {
		err = c.calls(r)
	}
	cancel()
	c.waits.Wait()
	if c.access != nil {
		c.access.space.locks.releaseAll(c)
	}
	c.peer.close()
	return err
}

// greet reads the token.
func (c *conn) greet(r *bufio.Reader, greeted func(*Access) bool) (bool, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(greetTime)); err != nil {
		return false, err
	}
	f, err := readFrame(r, make([]byte, 64))
	switch {
	case err != nil:
		return false, ignoreEnd(err)
	case f.kind != opHello:
		return false, fmt.Errorf("%w: it does not begin with its token", errProtocol)
	}
	a := c.server.admit(string(f.payload))
	if a == nil {
		return false, fmt.Errorf("%w: it has a wrong token", errProtocol)
	}
	if !greeted(a) {
		return false, c.answer(f.id, resultError, []byte("there are too many connections"))
	}
	c.access = a
	if peer, known, err := proc.PeerOf(c.net); known && err == nil && peer.PID > 0 {
		c.peer.open(peer.PID)
	}
	if err := c.net.SetReadDeadline(time.Time{}); err != nil {
		return false, err
	}
	return true, c.answer(f.id, resultOK, nil)
}

func (c *conn) calls(r *bufio.Reader) error {
	var buffer []byte
	for {
		f, err := readFrame(r, buffer)
		if err != nil {
			return ignoreEnd(err)
		}
		if err := c.call(f); err != nil {
			return err
		}
		if buffer = f.payload; cap(buffer) > keptBuffer {
			buffer = nil
		}
	}
}

// ignoreEnd returns nil for an error of a connection that has ended in any way.
func ignoreEnd(err error) error {
	if errors.Is(err, errProtocol) {
		return err
	}
	return nil
}

// refusal is an error that the application is told of, and that does not end the connection.
type refusal struct{ error }

// call answers one call.
func (c *conn) call(f frame) error {
	payload, err := c.perform(f)
	var no refusal
	switch {
	case errors.Is(err, errProtocol):
		return err
	case errors.As(err, &no):
		return c.answer(f.id, resultError, []byte(no.Error()))
	case errors.Is(err, errLater):
		return nil
	case errors.Is(err, errNo):
		return c.answer(f.id, resultNo, payload)
	case err != nil:
		return err
	}
	return c.answer(f.id, resultOK, payload)
}

var (
	errLater = errors.New("answered later")
	errNo    = errors.New("no")
)

// perform does what a call asks for.
func (c *conn) perform(f frame) ([]byte, error) {
	r, space := &reader{p: f.payload}, c.access.space
	switch f.kind {
	case opGet:
		return get(space.cache, r)
	case opSet:
		how, ttl, key, value := r.byte(), r.milliseconds(maxTTL), r.text(), r.text()
		if err := errors.Join(r.end(), checkName("key", key)); err != nil {
			return nil, err
		}
		if len(value) > MaxValue {
			return nil, refusal{fmt.Errorf("the value has more than %d bytes", MaxValue)}
		}
		stored, err := space.cache.set(how, key, value, ttl)
		return yes(stored, err)
	case opDelete:
		keys := r.texts()
		if err := checkKeys(r, keys); err != nil {
			return nil, err
		}
		removed := uint32(0)
		for _, key := range keys {
			if space.cache.remove(key) {
				removed++
			}
		}
		return binary.BigEndian.AppendUint32(nil, removed), nil
	case opAdd:
		by, ttl, key := int64(r.uint64()), r.milliseconds(maxTTL), r.text()
		if err := errors.Join(r.end(), checkName("key", key)); err != nil {
			return nil, err
		}
		is, err := space.cache.add(key, by, ttl)
		if err != nil {
			return nil, refusal{err}
		}
		return binary.BigEndian.AppendUint64(nil, uint64(is)), nil
	case opClear:
		space.cache.clear()
		return nil, r.end()
	case opLock:
		return c.lock(f.id, r)
	case opUnlock:
		id, name := r.uint64(), r.text()
		if err := r.end(); err != nil {
			return nil, err
		}
		return yes(space.locks.release(c, id, name), nil)
	case opPublish:
		return c.publish(r)
	}
	return nil, fmt.Errorf("%w: the call %d", errProtocol, f.kind)
}

func yes(is bool, err error) ([]byte, error) {
	switch {
	case err != nil:
		return nil, refusal{err}
	case !is:
		return nil, errNo
	}
	return nil, nil
}

func get(from *cache, r *reader) ([]byte, error) {
	keys := r.texts()
	if err := checkKeys(r, keys); err != nil {
		return nil, err
	}
	var b []byte
	for _, key := range keys {
		value, ok := from.get(key)
		if !ok {
			b = append(b, 0)
			continue
		}
		if len(b)+len(value) > maxReply {
			return nil, refusal{fmt.Errorf("the values have more than %d bytes together; ask for fewer", maxReply)}
		}
		b = appendText(append(b, 1), value)
	}
	return b, nil
}

func checkKeys(r *reader, keys []string) error {
	errs := []error{r.end()}
	for _, key := range keys {
		errs = append(errs, checkName("key", key))
	}
	if len(keys) > MaxKeys {
		errs = append(errs, refusal{fmt.Errorf("there are more than %d keys", MaxKeys)})
	}
	return errors.Join(errs...)
}

func checkName(what, name string) error {
	if name == "" || len(name) > MaxName {
		return refusal{fmt.Errorf("a %s must have 1 to %d bytes, has %d", what, MaxName, len(name))}
	}
	return nil
}

// lock answers at once, or once the lock is free.
func (c *conn) lock(id uint32, r *reader) ([]byte, error) {
	wait, most, name := r.milliseconds(MaxHold), r.milliseconds(MaxHold), r.text()
	if err := errors.Join(r.end(), checkName("name", name)); err != nil {
		return nil, err
	}
	if most <= 0 || most > MaxHold {
		return nil, refusal{fmt.Errorf("a lock is held for more than 0 and at most %v", MaxHold)}
	}
	acquire := func(wait time.Duration) ([]byte, error) {
		hold, ok, err := c.access.space.locks.acquire(c.ctx, c, name, wait, most)
		if _, err := yes(ok, err); err != nil {
			return nil, err
		}
		return binary.BigEndian.AppendUint64(nil, hold), nil
	}
	payload, err := acquire(0)
	if wait <= 0 || !errors.Is(err, errNo) {
		return payload, err
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return nil, refusal{errTooManyLocks}
	}
	c.waits.Go(func() {
		defer func() { <-c.slots }()
		payload, err := acquire(wait)
		var no refusal
		switch {
		case err == nil:
			err = c.answer(id, resultOK, payload)
		case errors.As(err, &no):
			err = c.answer(id, resultError, []byte(no.Error()))
		default:
			err = c.answer(id, resultNo, nil)
		}
		if err != nil {
			_ = c.net.Close() // serve reads the end, and gives the lock back
		}
	})
	return nil, errLater
}

func (c *conn) publish(r *reader) ([]byte, error) {
	m := Message{Binary: r.byte() != 0, Channel: r.text(), Event: r.text(), Data: r.text()}
	if err := r.end(); err != nil {
		return nil, err
	}
	publish := c.server.opt.Publish
	switch {
	case publish == nil:
		return nil, refusal{errors.New("this gateway passes no messages on")}
	case len(m.Data) > MaxMessage:
		return nil, refusal{fmt.Errorf("the message has more than %d bytes", MaxMessage)}
	}
	ctx, cancel := context.WithTimeout(c.ctx, publishTime)
	defer cancel()
	id, err := publish(ctx, m)
	var bad *BadMessage
	switch {
	case errors.As(err, &bad):
		return nil, refusal{err}
	case err != nil:
		return []byte(err.Error()), errNo
	}
	return []byte(id), nil
}

// answer writes an answer. After an error the connection is of no use.
func (c *conn) answer(id uint32, result byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.net.SetWriteDeadline(time.Now().Add(c.server.patience)); err != nil {
		return err
	}
	c.out = appendFrame(c.out[:0], frame{id: id, kind: result, payload: payload})
	_, err := c.net.Write(c.out)
	if cap(c.out) > keptBuffer {
		c.out = nil
	}
	return err
}

// hasDied implements owner.
func (c *conn) hasDied() bool { return c.peer.hasEnded() }
