package shared

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// client is a process that shares.
type client struct {
	t  testing.TB
	c  net.Conn
	id uint32
}

// listening returns a Server that listens, and what it logs.
func listening(t testing.TB, publish func(context.Context, Message) (string, error)) (*Server, *testkit.Log) {
	t.Helper()
	return listeningFor(t, publish, writeTime)
}

// strangersLeave cuts all connections, as their time does.
func (s *socket) strangersLeave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// listeningFor returns a Server with a time in which processes must read.
func listeningFor(t testing.TB, publish func(context.Context, Message) (string, error), patience time.Duration) (*Server, *testkit.Log) {
	t.Helper()
	log := &testkit.Log{}
	s := New(Options{Publish: publish, Logger: slog.New(slog.NewTextHandler(log, nil))})
	s.patience = patience
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, log
}

func dial(t testing.TB, a *Access) *client {
	t.Helper()
	path, token, ok := strings.Cut(a.Address(), " ")
	if !ok {
		t.Fatalf("the address %q", a.Address())
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	k := &client{t: t, c: c}
	if r := k.call(opHello, []byte(token)); r.kind != resultOK {
		t.Fatalf("hello: %d %s", r.kind, r.payload)
	}
	return k
}

func (k *client) send(kind byte, payload []byte) uint32 {
	k.id++
	if _, err := k.c.Write(appendFrame(nil, frame{k.id, kind, payload})); err != nil {
		k.t.Error(err)
	}
	return k.id
}

func (k *client) read() frame {
	f, err := readAnswer(k.c)
	if err != nil {
		k.t.Error("no answer:", err)
	}
	return f
}

// readAnswer reads a frame that may be larger than those of processes.
func readAnswer(r io.Reader) (frame, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{id: binary.BigEndian.Uint32(head[4:]), kind: head[8], payload: make([]byte, binary.BigEndian.Uint32(head[:])-5)}
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

func (k *client) call(kind byte, payload []byte) frame {
	k.t.Helper()
	id := k.send(kind, payload)
	f := k.read()
	if f.id != id {
		k.t.Errorf("the answer is for %d, not for %d", f.id, id)
	}
	return f
}

func text(list ...string) (b []byte) {
	for _, one := range list {
		b = appendText(b, one)
	}
	return b
}

func setting(how byte, ttl time.Duration, key, value string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{how}, uint64(ttl.Milliseconds())), text(key, value)...)
}

func locking(wait, hold time.Duration, name string) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(wait.Milliseconds()))
	return append(binary.BigEndian.AppendUint64(b, uint64(hold.Milliseconds())), text(name)...)
}

func unlocking(id []byte, name string) []byte { return append(id[:8:8], text(name)...) }

func (k *client) want(r frame, kind byte, payload string) {
	k.t.Helper()
	if r.kind != kind || !strings.Contains(string(r.payload), payload) {
		k.t.Errorf("the answer is %d %q, want %d %q", r.kind, r.payload, kind, payload)
	}
}

func TestMountsShareNothingUnlessTheyHaveTheSameNamespace(t *testing.T) {
	s, _ := listening(t, nil)
	a, b, other := dial(t, s.Access("/a", "both")), dial(t, s.Access("/b", "both")), dial(t, s.Access("/c", "c"))
	a.want(a.call(opSet, setting(always, 0, "k", "v")), resultOK, "")
	b.want(b.call(opGet, text("k", "none")), resultOK, "\x01\x00\x00\x00\x01v\x00")
	other.want(other.call(opGet, text("k")), resultOK, "\x00")
	b.want(b.call(opDelete, text("k", "none")), resultOK, "\x00\x00\x00\x01")
	a.want(a.call(opSet, setting(present, 0, "k", "v")), resultNo, "")
	if again := s.Access("/a", "both"); again != s.grants[again.token] || len(s.grants) != 3 {
		t.Error("one holder has two tokens")
	}
	all := s.Status()
	if len(all) != 2 || all[0].Namespace != "both" || all[0].Hits != 1 || all[0].Misses != 1 {
		t.Errorf("the status is %+v", all)
	}
}

func TestACounterLosesNothing(t *testing.T) {
	s, _ := listening(t, nil)
	a := s.Access("/", "/")
	var all sync.WaitGroup
	for range 8 {
		k := dial(t, a)
		all.Go(func() {
			for range 200 {
				k.call(opAdd, append(binary.BigEndian.AppendUint64(make([]byte, 0, 16), 1), append(make([]byte, 8), text("n")...)...))
			}
		})
	}
	all.Wait()
	k := dial(t, a)
	k.want(k.call(opGet, text("n")), resultOK, "1600")
}

func TestLocksGoFromOneToTheNext(t *testing.T) {
	s, _ := listening(t, nil)
	a := s.Access("/", "/")
	first, second, third := dial(t, a), dial(t, a), dial(t, a)
	id := first.call(opLock, locking(0, time.Minute, "x")).payload
	second.want(second.call(opLock, locking(0, time.Minute, "x")), resultNo, "")
	waits := func(n int) {
		t.Helper()
		testkit.Eventually(t, "someone waits", func() bool { return s.Status()[0].Waiting == n })
	}
	second.send(opLock, locking(time.Minute, time.Minute, "x"))
	waits(1)
	third.send(opLock, locking(time.Minute, time.Minute, "x"))
	waits(2)
	third.want(third.call(opSet, setting(always, 0, "k", "v")), resultOK, "") // other calls go on meanwhile
	second.want(second.call(opUnlock, unlocking(id, "x")), resultNo, "")      // it is not its own
	first.want(first.call(opUnlock, unlocking(id, "x")), resultOK, "")
	first.want(first.call(opUnlock, unlocking(id, "x")), resultNo, "")
	if got := second.read(); got.kind != resultOK {
		t.Errorf("the second gets %d %q", got.kind, got.payload)
	}
	_ = second.c.Close() // its process has ended
	if got := third.read(); got.kind != resultOK {
		t.Errorf("the third gets %d %q", got.kind, got.payload)
	}
	_ = third.c.Close()
	testkit.Eventually(t, "the lock is free", func() bool { return s.Status()[0].Locks == 0 })
}

func TestALockIsHeldForItsTime(t *testing.T) {
	s, _ := listening(t, nil)
	a := s.Access("/", "/")
	first, second := dial(t, a), dial(t, a)
	id := first.call(opLock, locking(0, 20*time.Millisecond, "x")).payload
	second.want(second.call(opLock, locking(time.Minute, time.Minute, "x")), resultOK, "")
	first.want(first.call(opUnlock, unlocking(id, "x")), resultNo, "")
	first.want(first.call(opLock, locking(time.Millisecond, time.Minute, "x")), resultNo, "")
	for _, wrong := range [][]byte{locking(0, 0, "x"), locking(0, 2*MaxHold, "x"), locking(0, 1, ""), locking(0, time.Second, strings.Repeat("x", MaxName+1))} {
		first.want(first.call(opLock, wrong), resultError, "")
	}
}

// mortal is an owner whose process may die while its connection stays.
type mortal struct{ dead bool }

func (m *mortal) hasDied() bool { return m.dead }

func TestALockOfADeadProcessIsFreeThoughAChildHasTheConnection(t *testing.T) {
	l, holder := newLocks(), &mortal{}
	if _, ok, err := l.acquire(t.Context(), holder, "x", 0, time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	got := make(chan bool)
	go func() {
		_, ok, _ := l.acquire(t.Context(), &mortal{}, "x", time.Minute, time.Hour)
		got <- ok
	}()
	testkit.Eventually(t, "someone waits", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.waiting == 1 })
	l.mu.Lock()
	holder.dead = true
	l.mu.Unlock()
	if !<-got {
		t.Error("the lock is not free")
	}
}

func TestLimitsAreToldAndTheConnectionGoesOn(t *testing.T) {
	s, log := listening(t, nil)
	k := dial(t, s.Access("/", "/"))
	many := make([]string, MaxKeys+1)
	for i := range many {
		many[i] = "k"
	}
	for what, c := range map[string]struct {
		kind    byte
		payload []byte
	}{
		"250 bytes":       {opSet, setting(always, 0, strings.Repeat("k", 251), "v")},
		"1 to 250":        {opGet, text("")},
		"1048576 bytes":   {opSet, setting(always, 0, "k", strings.Repeat("v", MaxValue+1))},
		"1000 keys":       {opDelete, text(many...)},
		"passes no messa": {opPublish, append([]byte{0}, text("news", "", "hello")...)},
	} {
		k.want(k.call(c.kind, c.payload), resultError, what)
	}
	k.want(k.call(opClear, nil), resultOK, "")
	if log.String() != "" {
		t.Errorf("the log has %s", log.String())
	}
}

func TestConnectionsThatBreakTheProtocolAreCut(t *testing.T) {
	s, log := listening(t, nil)
	a := s.Access("/shop", "/")
	path, token, _ := strings.Cut(a.Address(), " ")
	hello := appendFrame(nil, frame{1, opHello, []byte(token)})
	for name, bytes := range map[string][]byte{
		"a wrong token":               appendFrame(nil, frame{1, opHello, []byte(strings.Repeat("0", 32))}),
		"no token":                    appendFrame(nil, frame{1, opGet, text("k")}),
		"HTTP":                        []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a call that is none":         appendFrame(hello[:len(hello):len(hello)], frame{2, 99, nil}),
		"a list that does not add up": appendFrame(hello[:len(hello):len(hello)], frame{2, opGet, []byte{0, 0, 0, 9, 'x'}}),
		"too long a frame":            append(hello[:len(hello):len(hello)], 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 2),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Write(bytes); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
		})
	}
	testkit.Eventually(t, "the log tells of each", func() bool { return strings.Count(log.String(), "is cut") == 6 })
	if !strings.Contains(log.String(), "of=/shop") || strings.Contains(log.String(), token) {
		t.Errorf("the log has %s", log.String())
	}
	k := dial(t, a)
	k.want(k.call(opSet, setting(always, 0, "k", "v")), resultOK, "")
}

// Processes that say no token may not keep others out for long, nor use up descriptors.
func TestStrangersAreFew(t *testing.T) {
	s, _ := listening(t, nil)
	a := s.Access("/", "/")
	path, _, _ := strings.Cut(a.Address(), " ")
	var all sync.WaitGroup
	var cut atomic.Int64
	for range maxStrangers + 20 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		all.Go(func() {
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
				cut.Add(1)
			}
		})
	}
	testkit.Eventually(t, "20 were cut", func() bool { return cut.Load() == 20 })
	s.strangersLeave()
	all.Wait()
	testkit.Eventually(t, "there is room again", func() bool {
		s.socket.mu.Lock()
		defer s.socket.mu.Unlock()
		return s.strangers == 0
	})
	dial(t, a)
}

// A process that asks and does not read loses its connection, and nothing else waits for it.
func TestAProcessThatDoesNotReadIsCut(t *testing.T) {
	s, _ := listeningFor(t, nil, 200*time.Millisecond)
	a := s.Access("/", "/")
	deaf, other := dial(t, a), dial(t, a)
	deaf.want(deaf.call(opSet, setting(always, 0, "k", strings.Repeat("v", MaxValue))), resultOK, "")
	deaf.want(deaf.call(opLock, locking(0, time.Hour, "x")), resultOK, "")
	ask := appendFrame(nil, frame{9, opGet, text("k")})
	if err := deaf.c.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		for {
			if _, err := deaf.c.Write(ask); err != nil {
				cut <- err
				return
			}
		}
	}()
	other.want(other.call(opSet, setting(always, 0, "other", "v")), resultOK, "")
	other.want(other.call(opLock, locking(time.Minute, time.Minute, "x")), resultOK, "")
	if err := <-cut; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it can write for ever")
	}
}

func TestPublish(t *testing.T) {
	got := make(chan Message, 1)
	s, _ := listening(t, func(_ context.Context, m Message) (string, error) {
		switch m.Channel {
		case "bad":
			return "", &BadMessage{errors.New("no such name")}
		case "down":
			return "", errors.New("the broker is away")
		}
		got <- m
		return "id-1", nil
	})
	k := dial(t, s.Access("/", "/"))
	say := func(channel string) frame { return k.call(opPublish, append([]byte{1}, text(channel, "e", "d")...)) }
	k.want(say("news"), resultOK, "id-1")
	if m := <-got; m != (Message{"news", "e", "d", true}) {
		t.Errorf("the message is %+v", m)
	}
	k.want(say("bad"), resultError, "no such name")
	k.want(say("down"), resultNo, "the broker is away")
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	s := New(Options{})
	a := s.Access("/", "/")
	if a.Address() != "" || (*Server)(nil).Access("/", "/").Address() != "" {
		t.Error("there is an address without a socket")
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	path, _, _ := strings.Cut(a.Address(), " ")
	k := dial(t, a)
	k.want(k.call(opLock, locking(0, time.Minute, "x")), resultOK, "")
	waiting := dial(t, a)
	waiting.send(opLock, locking(time.Minute, time.Minute, "x"))
	testkit.Eventually(t, "someone waits", func() bool { return s.Status()[0].Waiting == 1 })
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
	if all := s.Status(); len(all) > 0 {
		t.Errorf("there are %+v", all)
	}
}

// FuzzCall sends calls of any kind. The connection goes on, or is cut; nothing panics.
func FuzzCall(f *testing.F) {
	s, _ := listening(f, func(context.Context, Message) (string, error) { return "id", nil })
	a := s.Access("/", "/")
	f.Add(byte(opGet), text("a", "b"))
	f.Add(byte(opSet), setting(always, time.Second, "a", "b"))
	f.Add(byte(opLock), locking(time.Millisecond, time.Millisecond, "a"))
	f.Add(byte(opAdd), append(make([]byte, 16), text("n")...))
	f.Add(byte(opUnlock), unlocking(make([]byte, 8), "a"))
	f.Add(byte(opPublish), append([]byte{0}, text("a", "b", "c")...))
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		k := dial(t, a)
		if kind == opLock && len(payload) > 8 {
			copy(payload, make([]byte, 7)) // no long waits
		}
		k.send(kind, payload)
		if _, err := readAnswer(k.c); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	})
}
