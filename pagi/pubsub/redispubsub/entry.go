package redispubsub

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// place is where a message stands in its channel. An epoch begins anew when Redis has lost the numbers
// of the channel.
type place = message.Place

// errEntry says that something else than this package has written an entry.
var errEntry = errors.New("redispubsub: Redis has an entry that is no message")

// decode reads an entry of publishScript: epoch, number, milliseconds, content.
func decode(channel, entry string) (*pubsub.Message, place, error) {
	parts := strings.SplitN(entry, " ", 4)
	if len(parts) != 4 {
		return nil, place{}, errEntry
	}
	seq, err := strconv.ParseInt(parts[1], 10, 64)
	ms, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return nil, place{}, errors.Join(errEntry, err)
	}
	p := place{Epoch: parts[0], Seq: seq}
	m := &pubsub.Message{ID: p.ID(), Channel: channel, Time: time.UnixMilli(ms)}
	if err := message.Decode([]byte(parts[3]), m); err != nil {
		return nil, place{}, errors.Join(errEntry, err)
	}
	return m, p, nil
}

// First characters of what is published to a channel of Redis.
const (
	entryData   = 'D'
	entryJoin   = 'J'
	entryLeave  = 'L'
	entryUpdate = 'U'
)

// kinds are the kinds of messages about members. What follows is the number of
// members, a space, the id, a line end, and the info.
var kinds = map[byte]pubsub.Kind{entryJoin: pubsub.Join, entryLeave: pubsub.Leave, entryUpdate: pubsub.Update}
