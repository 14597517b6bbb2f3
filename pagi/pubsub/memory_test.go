package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/pubsubtest"
)

func TestMemory(t *testing.T) {
	pubsubtest.Run(t, func(*testing.T) pubsub.Broker { return &pubsub.Memory{} })
	pubsubtest.RunPair(t, func(*testing.T) (a, b pubsub.Broker) {
		m := &pubsub.Memory{}
		return m, m
	})
}

func Example() {
	ctx := context.Background()
	var b pubsub.Memory
	if err := b.Keep("news", pubsub.History{Messages: 10}); err != nil {
		fmt.Println(err)
	}
	first, _ := b.Publish(ctx, "news", pubsub.Message{Data: "one"})
	_, _ = b.Publish(ctx, "news", pubsub.Message{Data: "two"})

	sub, err := b.Subscribe(ctx, "news", pubsub.Options{After: first})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()
	_, _ = b.Publish(ctx, "news", pubsub.Message{Data: "three"})
	for range 2 {
		m, err := sub.Next(ctx)
		fmt.Println(m.Data, err)
	}
	// Output:
	// two <nil>
	// three <nil>
}

func mustPublish(t *testing.T, b pubsub.Broker, channel, data string) string {
	t.Helper()
	id, err := b.Publish(t.Context(), channel, pubsub.Message{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func kept(t *testing.T, b pubsub.Broker, channel string) int {
	t.Helper()
	s, err := b.Subscribe(t.Context(), channel, pubsub.Options{Last: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n, _ := s.Queue().Len()
	return n
}

func TestMessagesGetTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &pubsub.Memory{History: pubsub.History{Messages: 10, Age: time.Minute}}
		first := mustPublish(t, b, "c", "1")
		time.Sleep(50 * time.Second)
		mustPublish(t, b, "c", "2")
		time.Sleep(20 * time.Second)
		if n := kept(t, b, "c"); n != 1 {
			t.Errorf("%d messages", n)
		}
		s, err := b.Subscribe(t.Context(), "c", pubsub.Options{After: first})
		if err != nil || s.Missed() {
			t.Errorf("%v, missed %v", err, s.Missed())
		}
		s.Close()
		time.Sleep(time.Hour)
		if n := kept(t, b, "c"); n != 0 {
			t.Errorf("%d messages", n)
		}
		s, err = b.Subscribe(t.Context(), "c", pubsub.Options{After: first})
		if err != nil || !s.Missed() {
			t.Errorf("%v, missed %v", err, s.Missed())
		}
		s.Close()
	})
}

func TestTheNumberOfChannelsIsLimited(t *testing.T) {
	b := &pubsub.Memory{MaxChannels: 3}
	for i := range 3 {
		s, err := b.Subscribe(t.Context(), fmt.Sprint(i), pubsub.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if _, err := b.Subscribe(t.Context(), "more", pubsub.Options{}); !errors.Is(err, pubsub.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	mustPublish(t, b, "nobody listens", "x") // needs no channel
	s, err := b.Subscribe(t.Context(), "1", pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestChannelsWithoutSubscribersMakeRoom(t *testing.T) {
	b := &pubsub.Memory{MaxChannels: 64, History: pubsub.History{Messages: 1}}
	for i := range 10_000 {
		mustPublish(t, b, fmt.Sprint(i), "x")
	}
	if n := pubsub.ChannelCount(b); n > 64 {
		t.Errorf("%d channels", n)
	}
}

func TestWhatAllChannelsKeepIsLimited(t *testing.T) {
	const total = 1 << 20
	b := &pubsub.Memory{TotalHistory: total, History: pubsub.History{Messages: 100}}
	text := strings.Repeat("x", 1000)
	for i := range 10_000 {
		mustPublish(t, b, fmt.Sprint(i%2000), text)
	}
	if n := pubsub.KeptBytes(b); n > total || n < total/2 {
		t.Errorf("%d bytes are kept", n)
	}
	if n := kept(t, b, "1999"); n == 0 {
		t.Error("the newest message is not kept")
	}
	if n := kept(t, b, "1"); n != 0 {
		t.Error("the oldest message is kept")
	}
}

func TestNothingIsLeftOfAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &pubsub.Memory{}
		if err := b.Keep("kept*", pubsub.History{Messages: 1, Age: time.Second}); err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			s, err := b.Subscribe(t.Context(), fmt.Sprint("c", i), pubsub.Options{Member: pubsub.Member{ID: "m"}})
			if err != nil {
				t.Fatal(err)
			}
			mustPublish(t, b, fmt.Sprint("c", i), "x")
			mustPublish(t, b, fmt.Sprint("kept", i), "x")
			s.Close()
		}
		if n := pubsub.ChannelCount(b); n != 1000 {
			t.Errorf("%d channels", n)
		}
		time.Sleep(time.Minute)
		for i := range 2000 { // others tidy up
			s, err := b.Subscribe(t.Context(), fmt.Sprint("c", i), pubsub.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
		}
		if n, bytes := pubsub.ChannelCount(b), pubsub.KeptBytes(b); n != 0 || bytes != 0 {
			t.Errorf("%d channels with %d bytes", n, bytes)
		}
	})
}

func TestClose(t *testing.T) {
	b := &pubsub.Memory{}
	s, err := b.Subscribe(t.Context(), "c", pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustPublish(t, b, "c", "last")
	b.Close()
	b.Close()
	if m, err := s.Next(t.Context()); err != nil || m.Data != "last" {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, pubsub.ErrClosed) {
		t.Error(err)
	}
	s.Close()
	for what, err := range map[string]error{
		"publish":   func() error { _, err := b.Publish(t.Context(), "c", pubsub.Message{}); return err }(),
		"subscribe": func() error { _, err := b.Subscribe(t.Context(), "c", pubsub.Options{}); return err }(),
		"channels":  func() error { _, err := b.Channels(t.Context(), ""); return err }(),
	} {
		if !errors.Is(err, pubsub.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestEach(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		limits pubsub.Limits
		f      func(s *pubsub.Subscription, end context.CancelFunc, m pubsub.Message) error
		got    string
		want   error
	}{
		"until it is closed": {f: func(s *pubsub.Subscription, _ context.CancelFunc, m pubsub.Message) error {
			closeAfter(s, m, "two")
			return nil
		}, got: "one two"},
		"until the context ends":   {f: func(_ *pubsub.Subscription, end context.CancelFunc, _ pubsub.Message) error { end(); return nil }, got: "one"},
		"until the function fails": {f: func(*pubsub.Subscription, context.CancelFunc, pubsub.Message) error { return failed }, got: "one", want: failed},
		"until it is shed":         {limits: pubsub.Limits{Messages: 1, Policy: pubsub.Shed}, want: pubsub.ErrSlow},
	} {
		t.Run(name, func(t *testing.T) {
			b := &pubsub.Memory{}
			s, err := b.Subscribe(t.Context(), "c", pubsub.Options{Queue: pubsub.NewQueue(c.limits)})
			if err != nil {
				t.Fatal(err)
			}
			mustPublish(t, b, "c", "one")
			mustPublish(t, b, "c", "two")
			ctx, end := context.WithCancel(t.Context())
			defer end()
			var got []string
			err = s.Each(ctx, func(m pubsub.Message) error {
				got = append(got, m.Data)
				return c.f(s, end, m)
			})
			if !errors.Is(err, c.want) || strings.Join(got, " ") != c.got {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func closeAfter(s *pubsub.Subscription, m pubsub.Message, data string) {
	if m.Data == data {
		s.Queue().Close()
	}
}

func TestASlowSubscriberDoesNotSlowThePublisher(t *testing.T) {
	b := &pubsub.Memory{}
	const subscribers, messages = 200, 2000
	var last []*pubsub.Subscription
	for range subscribers {
		s, err := b.Subscribe(t.Context(), "c", pubsub.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		last = append(last, s)
	}
	before := heap()
	for i := range messages {
		mustPublish(t, b, "c", strings.Repeat("x", 1000)+fmt.Sprint(i))
	}
	// The messages that wait are the same for all, so they cost their bytes once.
	if grown := heap() - before; grown > subscribers*pubsub.DefaultQueueMessages*40+4<<20 {
		t.Errorf("%d KiB for %d slow subscribers", grown>>10, subscribers)
	}
	for _, s := range last {
		if n, _ := s.Queue().Len(); n != pubsub.DefaultQueueMessages {
			t.Fatalf("%d messages wait", n)
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestHistoryIsKeptBesideChurn publishes while subscribers come and go: no message may be lost from
// what is kept.
func TestHistoryIsKeptBesideChurn(t *testing.T) {
	b := &pubsub.Memory{}
	if err := b.Keep("kept*", pubsub.History{Messages: 1}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for i := range 200 {
				name := fmt.Sprint("kept", p, i)
				var both sync.WaitGroup
				both.Go(func() {
					if s, err := b.Subscribe(t.Context(), name, pubsub.Options{}); err == nil {
						s.Close()
					}
				})
				mustPublish(t, b, name, "x")
				both.Wait()
				if n := kept(t, b, name); n != 1 {
					t.Errorf("%s keeps %d messages", name, n)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPublish(b *testing.B) {
	for _, subscribers := range []int{0, 1, 100, 10_000} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			m := &pubsub.Memory{}
			for range subscribers {
				s, err := m.Subscribe(b.Context(), "c", pubsub.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Publish(b.Context(), "c", pubsub.Message{Data: "hello"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
