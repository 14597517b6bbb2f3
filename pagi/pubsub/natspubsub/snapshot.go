package natspubsub

import (
	"crypto/rand"
	"encoding/json"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// chunkSize is about how large the parts of a copy of the state are.
const chunkSize = 200 << 10

// chunk is a part of a copy of the state. The parts of a copy have one ID, and Index counts them.
type chunk struct {
	ID    string           `json:"id"`
	Index int              `json:"x"`
	End   bool             `json:"end,omitempty"`
	Head  *head            `json:"head,omitempty"` // of the first part
	Rooms []roomCopy       `json:"rooms,omitempty"`
	Kept  []keptCopy       `json:"kept,omitempty"`
	Subs  []subscriberCopy `json:"subs,omitempty"`
}

type head struct {
	Leader    string           `json:"leader"`
	Epoch     string           `json:"epoch"`
	Seq       int64            `json:"seq"`
	Term      int64            `json:"term"`
	Spans     []span           `json:"spans"`
	Nodes     map[string]int64 `json:"nodes"`
	Forgotten int64            `json:"forgotten"`
}

type roomCopy struct {
	Name    string         `json:"c"`
	Bounds  pubsub.History `json:"h"`
	Latest  int64          `json:"l"`
	Dropped int64          `json:"d"`
	Came    int64          `json:"n"`
}

// keptCopy is a message that a channel keeps.
type keptCopy struct {
	Channel string          `json:"c"`
	Epoch   string          `json:"e"`
	Seq     int64           `json:"n"`
	Time    int64           `json:"t"`
	Content json.RawMessage `json:"m"`
}

// subscriberCopy is the subscriptions of a node to a channel, or those of a member of it.
type subscriberCopy struct {
	Channel string `json:"c"`
	Node    string `json:"o"`
	Count   int    `json:"n"`
	Member  string `json:"i,omitempty"`
	Info    string `json:"v,omitempty"`
	Place   int64  `json:"p,omitempty"`
}

// copyTo passes the state in parts to send. The channels come with the one that was used last at the
// end, so that the copy has the same order.
func (s *state) copyTo(leader string, send func(*chunk)) {
	part, size := &chunk{ID: rand.Text(), Head: &head{leader, s.last.Epoch, s.last.Seq, s.term, s.spans, s.nodes, s.forgotten}}, 0
	add := func(bytes int) {
		if size += bytes + 100; size < chunkSize {
			return
		}
		send(part)
		part, size = &chunk{ID: part.ID, Index: part.Index + 1}, 0
	}
	put := func(r *room) {
		part.Rooms = append(part.Rooms, roomCopy{r.name, r.bounds, r.latest, r.kept.Dropped(), r.came})
		add(len(r.name))
		messages, seqs := r.kept.All()
		for i, m := range messages {
			content, err := message.Encode(m)
			at, ok := message.ParseID(m.ID)
			if err != nil || !ok {
				continue // it was decoded, so it can be encoded
			}
			part.Kept = append(part.Kept, keptCopy{r.name, at.Epoch, seqs[i], m.Time.UnixMilli(), content})
			add(len(content) + len(r.name))
		}
		for node, n := range r.subs {
			part.Subs = append(part.Subs, subscriberCopy{Channel: r.name, Node: node, Count: n})
			add(len(r.name) + len(node))
		}
		for id, m := range r.members {
			for node, n := range m.subs {
				part.Subs = append(part.Subs, subscriberCopy{r.name, node, n, id, m.info, m.place})
				add(len(r.name) + len(node) + len(id) + len(m.info))
			}
		}
	}
	for _, r := range s.rooms {
		if r.place == nil {
			put(r)
		}
	}
	for at := s.recent.Back(); at != nil; at = at.Prev() {
		put(at.Value.(*room))
	}
	part.End = true
	send(part)
}

// copying is a copy of another node's state that is coming in.
type copying struct {
	id    string
	next  int
	state *state
}

// take adds a part. It returns false for a part that does not fit: others were lost.
func (c *copying) take(p *chunk) bool {
	if p.ID != c.id || p.Index != c.next {
		return false
	}
	c.next++
	s := c.state
	if h := p.Head; h != nil {
		s.last, s.term, s.spans, s.forgotten = message.Place{Epoch: h.Epoch, Seq: h.Seq}, h.Term, h.Spans, h.Forgotten
		for node, n := range h.Nodes {
			s.nodes[node] = n
		}
	}
	for _, r := range p.Rooms {
		if pubsub.CheckName(r.Name) != nil || r.Bounds.Check() != nil {
			return false
		}
		to := s.room(r.Name)
		to.bounds, to.latest, to.came = r.Bounds, r.Latest, r.Came
		to.kept.Begin(r.Dropped)
	}
	for _, k := range p.Kept {
		e := entry{Epoch: k.Epoch, Seq: k.Seq, Time: k.Time, op: op{Channel: k.Channel, Content: k.Content}}
		m, err := e.message()
		to := s.rooms[k.Channel]
		if err != nil || to == nil {
			return false
		}
		to.kept.Add(m, k.Seq, to.bounds)
		s.charge(to)
	}
	for _, sub := range p.Subs {
		to := s.rooms[sub.Channel]
		if to == nil || (pubsub.Member{ID: sub.Member, Info: sub.Info}).Check() != nil {
			return false
		}
		if sub.Member == "" {
			to.subs[sub.Node] = sub.Count
			continue
		}
		m := to.members[sub.Member]
		if m == nil {
			m = &member{info: sub.Info, place: sub.Place, subs: map[string]int{}}
			to.members[sub.Member] = m
		}
		m.subs[sub.Node] = sub.Count
	}
	return true
}
