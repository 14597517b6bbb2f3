package natspubsub

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// kind says what an op does.
type kind string

const (
	opPublish     kind = "p" // Channel, Content, Bounds
	opSubscribe   kind = "s" // Channel, Member and Info if there is a member
	opUnsubscribe kind = "u" // Channel, Member
	opInfo        kind = "i" // Channel, Member, Info
	opGone        kind = "g" // Node: all that this node had ends
	opLead        kind = "l" // Node leads from here on: Term, Epoch of the entry, Before
)

// op is a change that a node asks for. A node numbers its ops from 1, and the leader takes them in this
// order only. So an op that is sent again is done once.
type op struct {
	Node    string          `json:"o,omitempty"` // which asks; for opGone and opLead, which it is about
	Request int64           `json:"r,omitempty"` // 0: the leader's own
	Kind    kind            `json:"k"`
	Channel string          `json:"c,omitempty"`
	Content json.RawMessage `json:"m,omitempty"`
	Bounds  *pubsub.History `json:"h,omitempty"`
	Member  string          `json:"i,omitempty"`
	Info    string          `json:"v,omitempty"`
	Term    int64           `json:"y,omitempty"`
	Before  string          `json:"b,omitempty"` // epoch of the entry before
}

// entry is an op with its place in the log.
type entry struct {
	Epoch  string `json:"e"`
	Seq    int64  `json:"n"`
	Time   int64  `json:"t"` // milliseconds of the leader's clock
	Leader string `json:"l"` // address of the node that has written it
	op
}

func (e *entry) place() message.Place { return message.Place{Epoch: e.Epoch, Seq: e.Seq} }
func (e *entry) when() time.Time      { return time.UnixMilli(e.Time) }

// errOp says that something else than this package has written an op.
var errOp = errors.New("natspubsub: an entry that is none")

// check reports an op that no Broker has made.
func (o *op) check() error {
	switch o.Kind {
	case opPublish:
		if o.Bounds == nil || o.Bounds.Check() != nil {
			return errOp
		}
		fallthrough
	case opSubscribe, opUnsubscribe, opInfo:
		member := pubsub.Member{ID: o.Member, Info: o.Info}
		return errors.Join(pubsub.CheckName(o.Channel), member.Check())
	case opGone, opLead:
		return nil
	}
	return errOp
}

// message returns what an entry of opPublish has published.
func (e *entry) message() (*pubsub.Message, error) {
	m := &pubsub.Message{ID: e.place().ID(), Channel: e.Channel, Time: e.when()}
	return m, message.Decode(e.Content, m)
}

// encode writes a value that can always be written.
func encode(v any) []byte {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false) // the text would be longer
	if err := to.Encode(v); err != nil {
		panic("natspubsub: " + err.Error())
	}
	return text.Bytes()
}
