package pool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
)

const (
	// spillChunk is how much of a spooled answer is read at once.
	spillChunk = 64 << 10
	// shrinkFrom is how large a file must be to be cut once its client has caught up.
	shrinkFrom = 1 << 20
	// tellSpoolAgain is how long the failure of a spool is not logged again.
	tellSpoolAgain = time.Minute
)

// spool is the part of one answer that lies in a temporary file because the client is slow. The
// mailbox's mu guards it. The file has no name, so it disappears when its descriptor is closed.
//
// An answer does not fail because its spool cannot be written: the worker then waits for the
// client, as it does when the spool is full.
type spool struct {
	pool     *Pool
	file     *os.File
	from, to int64 // the part of the file that has not been read
	extent   int64 // the size of the file; counted in Pool.spooled
	failed   bool  // writing has failed, and is not tried again
}

func (s *spool) isEmpty() bool { return s.from == s.to }

// write appends p and reports whether there was room for it.
func (s *spool) write(p []byte) bool {
	to := s.to + int64(len(p))
	if s.failed || to > s.pool.opt.AnswerSpool || !s.reserve(to) {
		return false
	}
	if err := s.append(p); err != nil {
		s.failed = true
		s.pool.tellSpool(err)
		return false
	}
	s.to = to
	return true
}

func (s *spool) append(p []byte) error {
	if s.file == nil {
		f, err := os.CreateTemp(s.pool.Dir(), "answer-*") // mode 0600
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			return errors.Join(err, f.Close())
		}
		s.file = f
	}
	_, err := s.file.WriteAt(p, s.to) // the rest of a failed write is never read
	return err
}

// reserve counts the file with that size. It reports whether the files of all answers together stay
// within the limit.
func (s *spool) reserve(size int64) bool {
	more, total := size-s.extent, s.pool.opt.AnswerSpoolTotal
	if more <= 0 {
		return true
	}
	if s.pool.spooled.Add(more) > total && total >= 0 {
		s.pool.spooled.Add(-more)
		return false
	}
	s.extent = size
	return true
}

// read returns the next piece in a buffer of its own.
func (s *spool) read() (*[]byte, error) {
	piece := buffer.Get(int(min(spillChunk, s.to-s.from)))
	n, err := s.file.ReadAt(*piece, s.from)
	if n < len(*piece) {
		buffer.Put(piece)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read a spooled answer: %w", err)
	}
	if s.from += int64(n); s.isEmpty() {
		s.rewind()
	}
	return piece, nil
}

// rewind starts again at the beginning of the file. It truncates a file that has become large.
func (s *spool) rewind() {
	s.from, s.to = 0, 0
	if s.extent < shrinkFrom {
		return
	}
	if err := s.file.Truncate(0); err != nil {
		s.pool.tellSpool(err) // its size stays counted
		return
	}
	s.pool.spooled.Add(-s.extent)
	s.extent = 0
}

// close drops the rest of the answer. Nothing more is written after it.
func (s *spool) close() (err error) {
	if s.file != nil {
		err = s.file.Close()
	}
	s.pool.spooled.Add(-s.extent)
	*s = spool{pool: s.pool, failed: true}
	return err
}

// tellSpool logs why answers cannot be spooled, once in tellSpoolAgain.
func (p *Pool) tellSpool(err error) {
	now := time.Now().UnixNano()
	told := p.spoolTold.Load()
	if told != 0 && now-told < int64(tellSpoolAgain) || !p.spoolTold.CompareAndSwap(told, now) {
		return
	}
	p.log.Error("an answer cannot be spooled: its worker waits for the client", "error", err)
}
