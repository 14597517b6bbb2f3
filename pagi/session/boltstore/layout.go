package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// The file has three buckets:
//
//	sessions   id -> JSON of stored
//	times      id -> JSON of times, so that a touch does not rewrite the data
//	deadlines  deadline in milliseconds, 8 bytes big-endian, then the id -> nothing
var sessionsBucket, timesBucket, deadlinesBucket = []byte("sessions"), []byte("times"), []byte("deadlines")

// sweepSize is how many expired sessions a save removes at most.
const sweepSize = 10

type stored struct {
	Version uint64                     `json:"version"`
	Created int64                      `json:"created"` // Unix milliseconds
	Data    map[string]json.RawMessage `json:"data"`
}

// times are Unix milliseconds; a deadline of 0 is none.
type times struct {
	Used     int64 `json:"used"`
	Deadline int64 `json:"deadline"`
}

// tables are the buckets in a transaction.
type tables struct {
	sessions, times, deadlines *bbolt.Bucket
}

func tablesOf(tx *bbolt.Tx) tables {
	return tables{tx.Bucket(sessionsBucket), tx.Bucket(timesBucket), tx.Bucket(deadlinesBucket)}
}

func makeTables(tx *bbolt.Tx) error {
	for _, name := range [][]byte{sessionsBucket, timesBucket, deadlinesBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// read returns a session that has not expired.
func (t tables) read(id string, now time.Time) (in stored, at times, err error) {
	raw, rawTimes := t.sessions.Get([]byte(id)), t.times.Get([]byte(id))
	if raw == nil {
		return in, at, session.ErrNotFound
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return in, at, fmt.Errorf("boltstore: %w: %w", session.ErrCorrupt, err)
	}
	if err := json.Unmarshal(rawTimes, &at); err != nil {
		return in, at, fmt.Errorf("boltstore: times: %w: %w", session.ErrCorrupt, err)
	}
	if in.Version == 0 {
		return in, at, fmt.Errorf("boltstore: %w: no version", session.ErrCorrupt)
	}
	if at.Deadline != 0 && now.UnixMilli() >= at.Deadline {
		return in, at, session.ErrNotFound
	}
	return in, at, nil
}

func (t tables) version(id string, now time.Time) (uint64, error) {
	in, _, err := t.read(id, now)
	return in.Version, err
}

func (t tables) load(id string, now time.Time) (*session.Record, error) {
	in, at, err := t.read(id, now)
	if err != nil {
		return nil, err
	}
	rec := &session.Record{ID: id, Version: in.Version, Data: in.Data, Created: time.UnixMilli(in.Created), Used: time.UnixMilli(at.Used)}
	if at.Deadline != 0 {
		rec.Deadline = time.UnixMilli(at.Deadline)
	}
	return rec, nil
}

func (t tables) save(rec *session.Record, version uint64) error {
	raw, err := json.Marshal(stored{Version: version, Created: rec.Created.UnixMilli(), Data: rec.Data})
	if err != nil {
		return err
	}
	if err := t.sessions.Put([]byte(rec.ID), raw); err != nil {
		return err
	}
	return t.setTimes(rec)
}

func (t tables) setTimes(rec *session.Record) error {
	if err := t.forgetDeadline(rec.ID); err != nil {
		return err
	}
	at := times{Used: rec.Used.UnixMilli()}
	if !rec.Deadline.IsZero() {
		at.Deadline = rec.Deadline.UnixMilli()
		if err := t.deadlines.Put(deadlineKey(at.Deadline, rec.ID), nil); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return t.times.Put([]byte(rec.ID), raw)
}

func (t tables) forgetDeadline(id string) error {
	var at times
	if json.Unmarshal(t.times.Get([]byte(id)), &at) != nil || at.Deadline == 0 {
		return nil
	}
	return t.deadlines.Delete(deadlineKey(at.Deadline, id))
}

func (t tables) remove(id string) error {
	if err := t.forgetDeadline(id); err != nil {
		return err
	}
	if err := t.times.Delete([]byte(id)); err != nil {
		return err
	}
	return t.sessions.Delete([]byte(id))
}

// sweep removes up to sweepSize expired sessions.
func (t tables) sweep(now time.Time) error {
	var expired [][]byte
	c := t.deadlines.Cursor()
	for key, _ := c.First(); key != nil && len(expired) < sweepSize; key, _ = c.Next() {
		if len(key) < 8 || int64(binary.BigEndian.Uint64(key)) > now.UnixMilli() {
			break
		}
		expired = append(expired, append([]byte(nil), key...))
	}
	for _, key := range expired {
		if err := t.remove(string(key[8:])); err != nil {
			return err
		}
		if err := t.deadlines.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func deadlineKey(deadline int64, id string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(deadline)), id...)
}
