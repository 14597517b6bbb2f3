// Package pubsubtest is the suite that every pubsub.Broker passes.
//
//	func TestBroker(t *testing.T) {
//		pubsubtest.Run(t, func(t *testing.T) pubsub.Broker { return &pubsub.Memory{} })
//	}
//
// It may import package pubsub.
package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// Run tests the Brokers that open makes, one for each test, without messages. A Broker of several
// processes is tested with RunPair, too.
func Run(t *testing.T, open func(t *testing.T) pubsub.Broker) {
	for name, test := range map[string]func(t *testing.T, b pubsub.Broker){
		"every subscriber gets every message in order":      testOrder,
		"publishers beside one another keep one order":      testOneOrder,
		"a message comes as it was published":               testContent,
		"a publisher's own messages are left out":           testExcept,
		"a new subscriber gets what was kept after an id":   testReplay,
		"the latest kept messages come first":               testLast,
		"the bounds of a history count":                     testBounds,
		"an id that is not known brings all that is kept":   testUnknownID,
		"nothing is kept where nobody asked for it":         testNoHistory,
		"a replay and new messages have no gap and no copy": testReplayBesidePublishers,
		"members come and leave":                            testMembers,
		"a member has several subscriptions":                testMemberTwice,
		"the info of a member changes":                      testInfo,
		"many members are counted":                          testManyMembers,
		"channels with subscribers are listed":              testChannels,
		"subscriptions share a queue":                       testSharedQueue,
		"a slow subscriber loses the oldest":                testDropOldest,
		"a slow subscriber is shed":                         testShed,
		"what is kept does not fill the queue":              testReplayLarge,
		"names and texts are checked":                       testRefusals,
		"a closed subscription gets nothing":                testClose,
		"a context that has ended ends the waiting":         testContext,
		"subscribers come and go beside publishers":         testChurn,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// RunPair tests two Brokers of different processes that share their channels.
func RunPair(t *testing.T, open func(t *testing.T) (a, b pubsub.Broker)) {
	for name, test := range map[string]func(t *testing.T, a, b pubsub.Broker){
		"a message of one reaches subscribers of both":  testPairMessage,
		"what was kept by one is replayed by the other": testPairReplay,
		"members of both are listed by both":            testPairMembers,
		"publishers of both have one order":             testPairOrder,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			test(t, a, b)
		})
	}
}

func publish(t testing.TB, b pubsub.Broker, channel string, m pubsub.Message) string {
	t.Helper()
	id, err := b.Publish(t.Context(), channel, m)
	if err != nil || id == "" {
		t.Fatalf("publish: %q, %v", id, err)
	}
	return id
}

// numbers publishes n messages, "1" the first.
func numbers(t testing.TB, b pubsub.Broker, channel string, n int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, publish(t, b, channel, pubsub.Message{Data: fmt.Sprint(i + 1)}))
	}
	return ids
}

func subscribe(t testing.TB, b pubsub.Broker, channel string, o pubsub.Options) *pubsub.Subscription {
	t.Helper()
	s, err := b.Subscribe(t.Context(), channel, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func keep(t testing.TB, b pubsub.Broker, channel string, h pubsub.History) {
	t.Helper()
	if err := b.Keep(channel, h); err != nil {
		t.Fatal(err)
	}
}

func next(t testing.TB, s *pubsub.Subscription) pubsub.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return m
}

// expect reads messages and compares their data.
func expect(t testing.TB, s *pubsub.Subscription, data ...string) (ids []string) {
	t.Helper()
	for _, want := range data {
		m := next(t, s)
		if m.Data != want {
			t.Fatalf("got %q, want %q", m.Data, want)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

// nothingBefore publishes a last message, which must be the next one.
func nothingBefore(t testing.TB, b pubsub.Broker, channel string, s *pubsub.Subscription) {
	t.Helper()
	publish(t, b, channel, pubsub.Message{Data: "last"})
	expect(t, s, "last")
}

func testOrder(t *testing.T, b pubsub.Broker) {
	var subs []*pubsub.Subscription
	for range 3 {
		subs = append(subs, subscribe(t, b, "c", pubsub.Options{}))
	}
	other := subscribe(t, b, "other", pubsub.Options{})
	ids := numbers(t, b, "c", 5)
	for _, s := range subs {
		if got := expect(t, s, "1", "2", "3", "4", "5"); !slices.Equal(got, ids) {
			t.Errorf("ids %q, want %q", got, ids)
		}
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 5 {
		t.Errorf("an id came twice: %q", ids)
	}
	nothingBefore(t, b, "other", other)
}

func testOneOrder(t *testing.T, b pubsub.Broker) {
	const publishers, each = 4, 20
	first, second := subscribe(t, b, "c", pubsub.Options{}), subscribe(t, b, "c", pubsub.Options{})
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if _, err := b.Publish(t.Context(), "c", pubsub.Message{Data: fmt.Sprintf("%d/%02d", p, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last := map[string]string{}
	for range publishers * each {
		m, n := next(t, first), next(t, second)
		if m.ID != n.ID || m.Data != n.Data {
			t.Fatalf("one got %q, another %q", m.Data, n.Data)
		}
		publisher, number, _ := strings.Cut(m.Data, "/")
		if number <= last[publisher] {
			t.Fatalf("%s came after %s", m.Data, last[publisher])
		}
		last[publisher] = number
	}
}

func testContent(t *testing.T, b pubsub.Broker) {
	s := subscribe(t, b, "news/ü", pubsub.Options{})
	for _, m := range []pubsub.Message{
		{Data: "two\nlines, é", Name: "tick", From: "ann"},
		{Data: "\x00\xff binary", Binary: true},
		{Data: ""},
	} {
		before := time.Now().Add(-time.Minute)
		id := publish(t, b, "news/ü", m)
		got := next(t, s)
		if got.Time.Before(before) || got.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("time %v", got.Time)
		}
		m.ID, m.Channel, m.Time = id, "news/ü", got.Time
		if got != m {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
}

func testExcept(t *testing.T, b pubsub.Broker) {
	s := subscribe(t, b, "c", pubsub.Options{Except: "ann"})
	publish(t, b, "c", pubsub.Message{Data: "own", From: "ann"})
	publish(t, b, "c", pubsub.Message{Data: "other", From: "bob"})
	publish(t, b, "c", pubsub.Message{Data: "none"})
	expect(t, s, "other", "none")
}

func testReplay(t *testing.T, b pubsub.Broker) {
	keep(t, b, "c", pubsub.History{Messages: 10})
	ids := numbers(t, b, "c", 4)
	s := subscribe(t, b, "c", pubsub.Options{After: ids[1]})
	if s.Missed() {
		t.Error("missed")
	}
	if got := expect(t, s, "3", "4"); !slices.Equal(got, ids[2:]) {
		t.Errorf("ids %q, want %q", got, ids[2:])
	}
	nothingBefore(t, b, "c", s)
	s = subscribe(t, b, "c", pubsub.Options{After: ids[0], Last: 2})
	expect(t, s, "4", "last")
	if !s.Missed() {
		t.Error("with a limit, not missed")
	}
}

func testLast(t *testing.T, b pubsub.Broker) {
	keep(t, b, "c", pubsub.History{Messages: 10})
	numbers(t, b, "c", 4)
	for last, want := range map[int][]string{0: nil, 2: {"3", "4"}, 9: {"1", "2", "3", "4"}, -1: {"1", "2", "3", "4"}} {
		s := subscribe(t, b, "c", pubsub.Options{Last: last})
		if got, _ := s.Queue().Len(); got != len(want) || s.Missed() {
			t.Errorf("last %d: %d messages, missed %v", last, got, s.Missed())
		}
		expect(t, s, want...)
	}
}

func testBounds(t *testing.T, b pubsub.Broker) {
	keep(t, b, "c", pubsub.History{Messages: 2})
	keep(t, b, "c*", pubsub.History{Messages: 3})
	keep(t, b, "d*", pubsub.History{Messages: 9})
	ids := numbers(t, b, "c", 6)
	s := subscribe(t, b, "c", pubsub.Options{After: ids[0]})
	expect(t, s, "4", "5", "6")
	if !s.Missed() {
		t.Error("not missed")
	}
	if s = subscribe(t, b, "c", pubsub.Options{After: ids[3]}); s.Missed() {
		t.Error("missed although it is there")
	}
	expect(t, s, "5", "6")

	keep(t, b, "large", pubsub.History{Messages: 100, Bytes: 3000})
	for i := range 6 {
		publish(t, b, "large", pubsub.Message{Data: strings.Repeat(fmt.Sprint(i), 1000)})
	}
	s = subscribe(t, b, "large", pubsub.Options{Last: -1})
	n, _ := s.Queue().Len()
	if n < 1 || n > 3 {
		t.Errorf("%d messages of 1000 bytes are kept in 3000", n)
	}
	for i := range n {
		if m := next(t, s); m.Data[:1] != fmt.Sprint(6-n+i) {
			t.Errorf("message %d is %.1s", i, m.Data)
		}
	}
	keep(t, b, "old", pubsub.History{Messages: 100, Age: time.Millisecond})
	publish(t, b, "old", pubsub.Message{Data: "old"})
	deadline := time.Now().Add(patience)
	for {
		s, err := b.Subscribe(t.Context(), "old", pubsub.Options{Last: -1})
		if err != nil {
			t.Fatal(err)
		}
		n, _ := s.Queue().Len()
		s.Close()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a message does not get too old")
		}
		time.Sleep(time.Millisecond)
	}
}

func testUnknownID(t *testing.T, b pubsub.Broker) {
	keep(t, b, "c", pubsub.History{Messages: 10})
	ids := numbers(t, b, "c", 2)
	for _, after := range []string{"x", "0", "-1", "0-0x", ids[0] + "9", ids[0] + " ", strings.Repeat("9", 300)} {
		s := subscribe(t, b, "c", pubsub.Options{After: after})
		if !s.Missed() {
			t.Errorf("%q: not missed", after)
		}
		expect(t, s, "1", "2")
		s.Close()
	}
}

func testNoHistory(t *testing.T, b pubsub.Broker) {
	keep(t, b, "other", pubsub.History{Messages: 10})
	first := subscribe(t, b, "c", pubsub.Options{})
	ids := numbers(t, b, "c", 3)
	expect(t, first, "1", "2", "3")
	s := subscribe(t, b, "c", pubsub.Options{After: ids[0]})
	if !s.Missed() {
		t.Error("not missed")
	}
	nothingBefore(t, b, "c", s)
}

func testReplayBesidePublishers(t *testing.T, b pubsub.Broker) {
	const count = 60
	keep(t, b, "c", pubsub.History{Messages: 1000})
	start := publish(t, b, "c", pubsub.Message{Data: "0"})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range count {
			if _, err := b.Publish(t.Context(), "c", pubsub.Message{Data: fmt.Sprint(i + 1)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		s := subscribe(t, b, "c", pubsub.Options{After: start})
		for i := range count {
			expect(t, s, fmt.Sprint(i+1))
		}
		s.Close()
	}
}

func member(t testing.TB, b pubsub.Broker, id string) *pubsub.Subscription {
	t.Helper()
	return subscribe(t, b, "room", pubsub.Options{Member: pubsub.Member{ID: id, Info: "info of " + id}, Presence: true})
}

func expectMembers(t testing.TB, b pubsub.Broker, want ...string) {
	t.Helper()
	members, err := b.Members(t.Context(), "room")
	var got []string
	for _, m := range members {
		got = append(got, m.ID)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("members %q, %v, want %q", got, err, want)
	}
}

func expectKind(t testing.TB, s *pubsub.Subscription, kind pubsub.Kind, id, info string) {
	t.Helper()
	m := next(t, s)
	if m.Kind != kind || m.From != id || m.Data != info || m.ID != "" || m.Channel != "room" {
		t.Fatalf("got %+v, want kind %d of %s", m, kind, id)
	}
}

func testMembers(t *testing.T, b pubsub.Broker) {
	keep(t, b, "room", pubsub.History{Messages: 10})
	expectMembers(t, b)
	silent := subscribe(t, b, "room", pubsub.Options{})
	ann := member(t, b, "ann")
	bob := member(t, b, "bob")
	expectMembers(t, b, "ann", "bob")
	expectKind(t, ann, pubsub.Join, "bob", "info of bob")
	publish(t, b, "room", pubsub.Message{Data: "hello"})
	bob.Close()
	bob.Close()
	expectMembers(t, b, "ann")
	expect(t, ann, "hello")
	expectKind(t, ann, pubsub.Leave, "bob", "info of bob")
	expect(t, silent, "hello")
	expect(t, subscribe(t, b, "room", pubsub.Options{Last: -1}), "hello")
	ann.Close()
	expectMembers(t, b)
}

func testMemberTwice(t *testing.T, b pubsub.Broker) {
	watch := member(t, b, "watch")
	one, two := member(t, b, "ann"), member(t, b, "ann")
	expectMembers(t, b, "watch", "ann")
	one.Close()
	expectMembers(t, b, "watch", "ann")
	two.Close()
	expectMembers(t, b, "watch")
	expectKind(t, watch, pubsub.Join, "ann", "info of ann")
	expectKind(t, watch, pubsub.Leave, "ann", "info of ann")
}

func testInfo(t *testing.T, b pubsub.Broker) {
	watch, ann := member(t, b, "watch"), member(t, b, "ann")
	if err := ann.SetInfo(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	expectKind(t, watch, pubsub.Join, "ann", "info of ann")
	expectKind(t, watch, pubsub.Update, "ann", "new")
	members, err := b.Members(t.Context(), "room")
	if err != nil || len(members) != 2 || members[1] != (pubsub.Member{ID: "ann", Info: "new"}) {
		t.Errorf("%v %v", members, err)
	}
	if err := ann.SetInfo(t.Context(), strings.Repeat("x", pubsub.MaxInfo+1)); err == nil {
		t.Error("a long info")
	}
	if err := subscribe(t, b, "room", pubsub.Options{}).SetInfo(t.Context(), "x"); !errors.Is(err, pubsub.ErrNoMember) {
		t.Errorf("without a member: %v", err)
	}
	ann.Close()
	if err := ann.SetInfo(t.Context(), "late"); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// testManyMembers has more members than are told of one another. What a subscriber gets is bounded.
func testManyMembers(t *testing.T, b pubsub.Broker) {
	const more = 60
	watch := subscribe(t, b, "room", pubsub.Options{Presence: true, Queue: pubsub.NewQueue(pubsub.Limits{Messages: 10_000})})
	q := pubsub.NewQueue(pubsub.Limits{})
	begin := time.Now()
	var members []*pubsub.Subscription
	for i := range pubsub.MaxPresence + more {
		members = append(members, subscribe(t, b, "room", pubsub.Options{Member: pubsub.Member{ID: fmt.Sprint(i)}, Queue: q}))
	}
	for i := range pubsub.MaxPresence {
		expectKind(t, watch, pubsub.Join, fmt.Sprint(i), "")
	}
	counts := 0
	untilCount := func(want int) {
		t.Helper()
		for {
			m := next(t, watch)
			if m.Kind != pubsub.Count || m.From != "" || m.Channel != "room" {
				t.Fatalf("got %+v", m)
			}
			if counts++; m.Data == fmt.Sprint(want) {
				return
			}
		}
	}
	untilCount(pubsub.MaxPresence + more)
	if most := 3 + int(time.Since(begin)/pubsub.CountInterval); counts > most {
		t.Errorf("%d counts, want at most %d", counts, most)
	}
	for _, s := range members[pubsub.MaxPresence+1:] {
		s.Close()
	}
	untilCount(pubsub.MaxPresence + 1)
	members[0].Close()
	expectKind(t, watch, pubsub.Leave, "0", "")
}

func testChannels(t *testing.T, b pubsub.Broker) {
	list := func(prefix string) string {
		all, err := b.Channels(t.Context(), prefix)
		if err != nil {
			t.Error(err)
		}
		return strings.Trim(fmt.Sprint(all), "[]")
	}
	keep(t, b, "*", pubsub.History{Messages: 3})
	publish(t, b, "a/kept", pubsub.Message{})
	if got := list(""); got != "" {
		t.Errorf("channels without subscribers: %s", got)
	}
	subscribe(t, b, "b", pubsub.Options{})
	two := subscribe(t, b, "a/2", pubsub.Options{})
	subscribe(t, b, "a/1", pubsub.Options{})
	subscribe(t, b, "a/1", pubsub.Options{})
	if got := list("a/"); got != "{a/1 2} {a/2 1}" {
		t.Errorf("channels: %s", got)
	}
	two.Close()
	if got := list(""); got != "{a/1 2} {b 1}" {
		t.Errorf("channels: %s", got)
	}
}

func testSharedQueue(t *testing.T, b pubsub.Broker) {
	q := pubsub.NewQueue(pubsub.Limits{})
	one := subscribe(t, b, "one", pubsub.Options{Queue: q})
	two := subscribe(t, b, "two", pubsub.Options{Queue: q})
	publish(t, b, "one", pubsub.Message{Data: "1"})
	expect(t, two, "1")
	one.Close()
	publish(t, b, "one", pubsub.Message{Data: "late"})
	publish(t, b, "two", pubsub.Message{Data: "2"})
	if m := next(t, two); m.Data != "2" || m.Channel != "two" {
		t.Errorf("%+v", m)
	}
	q.Close()
	if _, err := two.Next(t.Context()); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// behind waits until a quick subscriber has got n messages, so that the Broker has passed them on.
func behind(t testing.TB, quick *pubsub.Subscription, n int) {
	t.Helper()
	for range n {
		next(t, quick)
	}
}

func testDropOldest(t *testing.T, b pubsub.Broker) {
	slow := subscribe(t, b, "c", pubsub.Options{Queue: pubsub.NewQueue(pubsub.Limits{Messages: 3})})
	bytes := subscribe(t, b, "c", pubsub.Options{Queue: pubsub.NewQueue(pubsub.Limits{Bytes: 1})})
	quick := subscribe(t, b, "c", pubsub.Options{})
	numbers(t, b, "c", 10)
	behind(t, quick, 10)
	for range 2 { // the Broker may pass a message on to the quick one first
		publish(t, b, "c", pubsub.Message{Data: "end"})
		next(t, quick)
	}
	if n, _ := slow.Queue().Len(); n != 3 {
		t.Errorf("%d messages wait", n)
	}
	if n, _ := bytes.Queue().Len(); n != 1 {
		t.Errorf("%d messages wait in a byte", n)
	}
	if m := next(t, slow); m.Data != "10" && m.Data != "end" {
		t.Errorf("the oldest that is left is %q", m.Data)
	}
	if n := slow.Queue().Dropped(); n < 8 {
		t.Errorf("%d dropped", n)
	}
}

func testShed(t *testing.T, b pubsub.Broker) {
	ended := make(chan error, 1)
	q := pubsub.NewQueue(pubsub.Limits{Messages: 3, Policy: pubsub.Shed, Ended: func(err error) { ended <- err }})
	slow := subscribe(t, b, "c", pubsub.Options{Queue: q})
	quick := subscribe(t, b, "c", pubsub.Options{})
	numbers(t, b, "c", 10)
	behind(t, quick, 10)
	select {
	case err := <-ended:
		if !errors.Is(err, pubsub.ErrSlow) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the slow one is not shed")
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, pubsub.ErrSlow) {
		t.Errorf("next: %v", err)
	}
	if n, bytes := q.Len(); n != 0 || bytes != 0 {
		t.Errorf("%d messages of %d bytes are held", n, bytes)
	}
}

func testReplayLarge(t *testing.T, b pubsub.Broker) {
	keep(t, b, "c", pubsub.History{Messages: 100})
	numbers(t, b, "c", 20)
	q := pubsub.NewQueue(pubsub.Limits{Messages: 3, Policy: pubsub.Shed})
	s := subscribe(t, b, "c", pubsub.Options{Last: -1, Queue: q})
	for i := range 3 {
		publish(t, b, "c", pubsub.Message{Data: fmt.Sprint(21 + i)})
	}
	for i := range 23 {
		expect(t, s, fmt.Sprint(i+1))
	}
}

func testRefusals(t *testing.T, b pubsub.Broker) {
	ctx := t.Context()
	for _, name := range []string{"", strings.Repeat("x", pubsub.MaxName+1), "a\nb", "a\x00", "\xff"} {
		if _, err := b.Publish(ctx, name, pubsub.Message{}); !errors.Is(err, pubsub.ErrBadName) {
			t.Errorf("publish to %q: %v", name, err)
		}
		if _, err := b.Subscribe(ctx, name, pubsub.Options{}); !errors.Is(err, pubsub.ErrBadName) {
			t.Errorf("subscribe to %q: %v", name, err)
		}
		if err := b.Keep(name, pubsub.History{}); !errors.Is(err, pubsub.ErrBadName) {
			t.Errorf("keep %q: %v", name, err)
		}
		if _, err := b.Members(ctx, name); !errors.Is(err, pubsub.ErrBadName) {
			t.Errorf("members of %q: %v", name, err)
		}
	}
	for what, m := range map[string]pubsub.Message{
		"a line end in the name": {Name: "a\nb"}, "a control character in From": {From: "\x01"}, "text that is not UTF-8": {Data: "\xff"},
	} {
		if _, err := b.Publish(ctx, "c", m); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if _, err := b.Publish(ctx, "c", pubsub.Message{Data: strings.Repeat("x", 64<<20)}); !errors.Is(err, pubsub.ErrTooLarge) {
		t.Errorf("a large message: %v", err)
	}
	for _, m := range []pubsub.Member{{ID: "a\n"}, {Info: "no id"}, {ID: "a", Info: "\xff"}} {
		if _, err := b.Subscribe(ctx, "c", pubsub.Options{Member: m}); err == nil {
			t.Errorf("member %+q is accepted", m)
		}
	}
	for _, h := range []pubsub.History{{Messages: -1}, {Messages: pubsub.MaxHistoryMessages + 1}, {Age: -1}, {Bytes: -1}} {
		if err := b.Keep("c", h); err == nil {
			t.Errorf("history %+v is accepted", h)
		}
	}
}

func testClose(t *testing.T, b pubsub.Broker) {
	s, other := subscribe(t, b, "c", pubsub.Options{}), subscribe(t, b, "c", pubsub.Options{})
	publish(t, b, "c", pubsub.Message{Data: "1"})
	expect(t, other, "1")
	s.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("next: %v", err)
	}
	publish(t, b, "c", pubsub.Message{Data: "2"})
	expect(t, other, "2")
	if n, _ := s.Queue().Len(); n != 0 {
		t.Errorf("%d messages in a closed queue", n)
	}
}

func testContext(t *testing.T, b pubsub.Broker) {
	s := subscribe(t, b, "c", pubsub.Options{})
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Next(ctx)
		done <- err
	}()
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("next: %v", err)
	}
	if _, err := b.Publish(ctx, "c", pubsub.Message{}); err == nil {
		t.Error("publish")
	}
	if _, err := b.Subscribe(ctx, "c", pubsub.Options{}); err == nil {
		t.Error("subscribe")
	}
	nothingBefore(t, b, "c", s)
}

func testChurn(t *testing.T, b pubsub.Broker) {
	keep(t, b, "room", pubsub.History{Messages: 5})
	var wg sync.WaitGroup
	for p := range 2 {
		wg.Go(func() {
			for i := range 50 {
				if _, err := b.Publish(t.Context(), fmt.Sprintf("room%d", i%3), pubsub.Message{Data: fmt.Sprint(p, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for p := range 4 {
		wg.Go(func() {
			for i := range 25 {
				s, err := b.Subscribe(t.Context(), fmt.Sprintf("room%d", i%3), pubsub.Options{
					Member: pubsub.Member{ID: fmt.Sprint(p)}, Presence: true, Last: -1,
					Queue: pubsub.NewQueue(pubsub.Limits{Messages: 2, Policy: pubsub.Policy(p % 2)}),
				})
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := b.Members(t.Context(), "room0"); err != nil {
					t.Error(err)
				}
				s.Close()
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		name := fmt.Sprint("room", i)
		if members, err := b.Members(t.Context(), name); err != nil || len(members) != 0 {
			t.Errorf("%s: %v, %v", name, members, err)
		}
	}
	if all, err := b.Channels(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("channels: %v, %v", all, err)
	}
}

func testPairMessage(t *testing.T, a, b pubsub.Broker) {
	one, two := subscribe(t, a, "c", pubsub.Options{}), subscribe(t, b, "c", pubsub.Options{})
	first := publish(t, a, "c", pubsub.Message{Data: "from a", From: "x"})
	second := publish(t, b, "c", pubsub.Message{Data: "from b"})
	for _, s := range []*pubsub.Subscription{one, two} {
		if ids := expect(t, s, "from a", "from b"); ids[0] != first || ids[1] != second {
			t.Errorf("ids %q", ids)
		}
	}
}

func testPairReplay(t *testing.T, a, b pubsub.Broker) {
	keep(t, a, "c", pubsub.History{Messages: 10})
	keep(t, b, "c", pubsub.History{Messages: 10})
	ids := numbers(t, a, "c", 3)
	s := subscribe(t, b, "c", pubsub.Options{After: ids[0]})
	if s.Missed() {
		t.Error("missed")
	}
	expect(t, s, "2", "3")
	nothingBefore(t, a, "c", s)
}

func testPairMembers(t *testing.T, a, b pubsub.Broker) {
	ann := member(t, a, "ann")
	bob := member(t, b, "bob")
	expectKind(t, ann, pubsub.Join, "bob", "info of bob")
	expectMembers(t, a, "ann", "bob")
	expectMembers(t, b, "ann", "bob")
	if err := bob.SetInfo(t.Context(), "new"); err != nil {
		t.Error(err)
	}
	expectKind(t, ann, pubsub.Update, "bob", "new")
	all, err := a.Channels(t.Context(), "")
	if err != nil || len(all) != 1 || all[0] != (pubsub.ChannelInfo{Name: "room", Subscribers: 2}) {
		t.Errorf("channels: %v, %v", all, err)
	}
	bob.Close()
	expectKind(t, ann, pubsub.Leave, "bob", "new")
	expectMembers(t, b, "ann")
}

func testPairOrder(t *testing.T, a, b pubsub.Broker) {
	one, two := subscribe(t, a, "c", pubsub.Options{}), subscribe(t, b, "c", pubsub.Options{})
	var wg sync.WaitGroup
	for i, broker := range []pubsub.Broker{a, b} {
		wg.Go(func() {
			for n := range 50 {
				if _, err := broker.Publish(t.Context(), "c", pubsub.Message{Data: fmt.Sprint(i, n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 100 {
		if m, n := next(t, one), next(t, two); m.ID != n.ID {
			t.Fatalf("one got %q, the other %q", m.Data, n.Data)
		}
	}
}
