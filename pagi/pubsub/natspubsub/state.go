package natspubsub

import (
	"cmp"
	"container/list"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

const (
	// maxSpans is how many epochs are remembered, so that ids of theirs are known.
	maxSpans = 64
	// expiredAtOnce is how many histories of other channels an entry may look at.
	expiredAtOnce = 2
)

// state is what the entries of the log make. It depends on them alone, so that it is the same in all
// nodes at the same place.
type state struct {
	last      message.Place
	term      int64
	spans     []span           // of the log, the oldest first
	nodes     map[string]int64 // number of the last request, by node
	rooms     map[string]*room
	recent    list.List // *room with kept messages; the front has published last
	bytes     int       // of kept messages
	mostBytes int
	mostKept  int // rooms with kept messages
	// forgotten is the number of the newest message that was published to a channel that is no more.
	forgotten int64
}

// span is a part of the log that one leader has written.
type span struct {
	Epoch string `json:"e"`
	First int64  `json:"f"`
}

// room is a channel with subscriptions or kept messages.
type room struct {
	name    string
	kept    pubsub.Kept
	bounds  pubsub.History
	latest  int64 // number of the newest message
	subs    map[string]int
	members map[string]*member
	came    int64         // members so far
	place   *list.Element // in recent; nil: nothing is kept
	charged int           // bytes that the state counts for it
}

// member is a member of a room, and how many subscriptions it has by node.
type member struct {
	info  string
	place int64
	subs  map[string]int
}

// hearer is told what an entry changes.
type hearer interface {
	hearMessage(m *pubsub.Message)
	hearMember(channel string, kind pubsub.Kind, id, info string, members int)
}

func newState(mostBytes, mostKept int) *state {
	return &state{nodes: map[string]int64{}, rooms: map[string]*room{}, mostBytes: mostBytes, mostKept: mostKept}
}

// follows reports whether an entry is the next one.
func (s *state) follows(e *entry) bool {
	if e.Seq != s.last.Seq+1 {
		return false
	}
	if e.Kind == opLead {
		return e.Before == s.last.Epoch
	}
	return e.Epoch == s.last.Epoch
}

// apply does what the next entry says. An entry that makes no sense changes nothing but the place.
func (s *state) apply(e *entry, h hearer) {
	s.last = e.place()
	if e.Request > 0 {
		s.nodes[e.Node] = e.Request
	}
	switch e.Kind {
	case opLead:
		s.term = e.Term
		s.spans = append(s.spans, span{e.Epoch, e.Seq})
		if over := len(s.spans) - maxSpans; over > 0 {
			s.spans = slices.Delete(s.spans, 0, over)
		}
	case opGone:
		s.gone(e.Node, h)
	case opPublish:
		s.publish(e, h)
	case opSubscribe:
		s.subscribe(e, h)
	case opUnsubscribe:
		if r := s.rooms[e.Channel]; r != nil {
			r.unsubscribe(e.Node, 1)
			if m := r.members[e.Member]; m != nil {
				r.leave(e.Member, m, e.Node, 1, h)
			}
			s.settle(r)
		}
	case opInfo:
		if r := s.rooms[e.Channel]; r != nil {
			if m := r.members[e.Member]; m != nil && m.info != e.Info {
				m.info = e.Info
				h.hearMember(r.name, pubsub.Update, e.Member, m.info, len(r.members))
			}
		}
	}
	s.tidy(e)
}

// room returns a room, made if there is none.
func (s *state) room(name string) *room {
	r := s.rooms[name]
	if r == nil {
		r = &room{name: name, latest: s.forgotten, subs: map[string]int{}, members: map[string]*member{}}
		r.kept.Begin(s.forgotten)
		s.rooms[name] = r
	}
	return r
}

func (s *state) publish(e *entry, h hearer) {
	m, err := e.message()
	if err != nil {
		return // the leader has checked it
	}
	r := s.rooms[e.Channel]
	if r == nil && e.Bounds.Messages == 0 {
		s.forgotten = e.Seq
		return
	}
	r = s.room(e.Channel)
	r.bounds, r.latest = r.bounds.Larger(*e.Bounds), e.Seq
	r.kept.Add(m, e.Seq, r.bounds)
	s.charge(r)
	if r.place != nil {
		s.recent.MoveToFront(r.place)
	}
	h.hearMessage(m)
	s.settle(r)
}

func (s *state) subscribe(e *entry, h hearer) {
	r := s.room(e.Channel)
	r.subs[e.Node]++
	r.kept.Expire(e.when(), r.bounds)
	s.charge(r)
	if e.Member == "" {
		return
	}
	m := r.members[e.Member]
	if m == nil {
		r.came++
		m = &member{info: e.Info, place: r.came, subs: map[string]int{}}
		r.members[e.Member] = m
		h.hearMember(r.name, pubsub.Join, e.Member, m.info, len(r.members))
	}
	m.subs[e.Node]++
}

func (r *room) unsubscribe(node string, n int) {
	if r.subs[node] -= n; r.subs[node] <= 0 {
		delete(r.subs, node)
	}
}

// leave takes subscriptions off a member, who leaves with the last.
func (r *room) leave(id string, m *member, node string, n int, h hearer) {
	if m.subs[node] -= n; m.subs[node] <= 0 {
		delete(m.subs, node)
	}
	if len(m.subs) == 0 {
		delete(r.members, id)
		h.hearMember(r.name, pubsub.Leave, id, m.info, len(r.members))
	}
}

// gone ends all that a node had. The rooms and their members are taken in one order by all nodes.
func (s *state) gone(node string, h hearer) {
	delete(s.nodes, node)
	for _, r := range s.sorted("") {
		if r.subs[node] == 0 {
			continue
		}
		for _, id := range r.ids() {
			if m := r.members[id]; m.subs[node] > 0 {
				r.leave(id, m, node, m.subs[node], h)
			}
		}
		r.unsubscribe(node, r.subs[node])
		s.settle(r)
	}
}

// sorted returns the rooms whose names begin with prefix, by name.
func (s *state) sorted(prefix string) []*room {
	var all []*room
	for name, r := range s.rooms {
		if strings.HasPrefix(name, prefix) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *room) int { return cmp.Compare(a.name, b.name) })
	return all
}

// ids returns the members in the order in which they came.
func (r *room) ids() []string {
	ids := make([]string, 0, len(r.members))
	for id := range r.members {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(r.members[a].place, r.members[b].place) })
	return ids
}

// subscribers returns the number of subscriptions.
func (r *room) subscribers() (n int) {
	for _, of := range r.subs {
		n += of
	}
	return n
}

// charge counts what a room keeps.
func (s *state) charge(r *room) {
	bytes := r.kept.Bytes()
	s.bytes += bytes - r.charged
	r.charged = bytes
	switch {
	case bytes == 0 && r.place != nil:
		s.recent.Remove(r.place)
		r.place = nil
	case bytes > 0 && r.place == nil:
		r.place = s.recent.PushFront(r)
	}
}

// settle removes a room that has nothing any more.
func (s *state) settle(r *room) {
	if len(r.subs) == 0 && r.place == nil {
		s.forgotten = max(s.forgotten, r.latest)
		delete(s.rooms, r.name)
	}
}

// tidy removes kept messages that are too old or too many.
func (s *state) tidy(e *entry) {
	seen := 0
	for at := s.recent.Back(); at != nil; {
		r, before := at.Value.(*room), at.Prev()
		over := s.bytes > s.mostBytes || s.recent.Len() > s.mostKept
		if seen++; !over && seen > expiredAtOnce {
			return
		}
		if over {
			r.kept.Clear()
		} else {
			r.kept.Expire(e.when(), r.bounds)
		}
		s.charge(r)
		s.settle(r)
		at = before
	}
}

// knows returns the number of the message with an id, if the log has had it.
func (s *state) knows(id string) (seq int64, ok bool) {
	p, ok := message.ParseID(id)
	if !ok {
		return 0, false
	}
	end := s.last.Seq
	for _, span := range slices.Backward(s.spans) {
		if span.Epoch == p.Epoch {
			return p.Seq, p.Seq >= span.First && p.Seq <= end
		}
		end = span.First - 1
	}
	return 0, false
}

// common returns the number up to which the log of another state is the same.
func (s *state) common(other *state) int64 {
	for i, span := range slices.Backward(s.spans) {
		end := s.last.Seq
		if i+1 < len(s.spans) {
			end = s.spans[i+1].First - 1
		}
		for k, theirs := range other.spans {
			if theirs.Epoch != span.Epoch {
				continue
			}
			if k+1 < len(other.spans) {
				return min(end, other.spans[k+1].First-1)
			}
			return min(end, other.last.Seq)
		}
	}
	return 0
}

// choose returns the kept messages that the options of a subscription ask for.
func (s *state) choose(channel string, o *pubsub.Options) (messages []*pubsub.Message, missed bool) {
	r := s.rooms[channel]
	if r == nil {
		return o.Newest(nil, false)
	}
	messages, _ = r.kept.All()
	if o.After != "" {
		if seq, ok := s.knows(o.After); ok {
			messages, missed = r.kept.After(seq)
		} else {
			missed = true
		}
	}
	return o.Newest(messages, missed)
}
