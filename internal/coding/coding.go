// Package coding compresses the bodies of responses: gzip (RFC 1952), brotli (RFC 7932) and
// Zstandard (RFC 8878). Encoders are kept for the next body, because each needs about a megabyte of
// tables.
//
// The package knows nothing of HTTP, and imports nothing of this module. Files: coding.go has the
// encoders and where they are kept, padding.go hides how long a body is.
package coding

import (
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/andybalholm/brotli/matchfinder"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The names of the codings, as in Accept-Encoding.
const (
	Gzip   = "gzip"
	Brotli = "br"
	Zstd   = "zstd"
)

// window is how far back an encoder of Zstandard finds repetitions. It limits the memory of the
// encoder and of the client.
const window = 256 << 10

// Pool makes the encoders of one coding and keeps them. All methods are safe for concurrent use.
type Pool struct {
	stream family
	whole  family // for a body that is not flushed; without make: stream
	small  family // for a body in small pieces; without make: stream
}

// family are encoders of one kind.
type family struct {
	free sync.Pool
	make func() resetter
}

// resetter is an encoder that can begin another body.
type resetter interface {
	io.Writer
	// Flush writes out all that was written so far, so that the client can read it.
	Flush() error
	Close() error
	Reset(to io.Writer)
}

// MaxLevel returns the highest level of a coding, 0 for a coding that is not known. The lowest is
// 1.
func MaxLevel(name string) int {
	switch name {
	case Gzip:
		return gzip.BestCompression
	case Brotli:
		return brotli.BestCompression
	case Zstd:
		return 22
	}
	return 0
}

// NewPool returns a Pool for a coding. It panics for a coding or a level that there is not.
func NewPool(name string, level int) *Pool {
	if level < 1 || level > MaxLevel(name) {
		panic(fmt.Sprintf("coding: no level %d of %q", level, name))
	}
	p := &Pool{}
	switch name {
	case Gzip:
		p.stream.make = func() resetter { return newGzip(level) }
		if level < lowestWithHistory {
			p.small.make = func() resetter { return newGzip(lowestWithHistory) }
		}
	case Brotli:
		p.stream.make = func() resetter { return newBrotli(level) }
		if level < 2 {
			p.small.make = func() resetter { return newBrotli(2) } // see lowestWithHistory
		}
		if level <= maxBlockLevel {
			p.whole.make = func() resetter { return blockEncoder{brotli.NewWriterV2(io.Discard, level)} }
		}
	case Zstd:
		p.stream.make = func() resetter {
			// One goroutine compresses: the server has one for each request already.
			w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(1),
				zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
			if err != nil {
				panic(err) // the options are constants
			}
			return zstdEncoder{w}
		}
	}
	return p
}

// Get returns an encoder that writes to to. size is the size of the body. A size of -1 stands for a
// body of unknown size, or one that is flushed: with any other size, Flush must not be called.
// piece is the size of the first piece of a body that is flushed; what comes will be like it. With
// a padding above 0 the body becomes longer by a random number of bytes, from about 1 to padding,
// which is at most MaxPadding. Decoders skip them.
func (p *Pool) Get(to io.Writer, size int64, piece, padding int) *Encoder {
	f := &p.stream
	switch {
	case size >= minBlock && padding <= 0 && p.whole.make != nil:
		f = &p.whole
	case size < 0 && piece < smallPiece && p.small.make != nil:
		f = &p.small
	}
	e, kept := f.free.Get().(resetter)
	if !kept {
		e = f.make()
	}
	e.Reset(to)
	out := &Encoder{resetter: e, from: f, to: to}
	if padding > 0 {
		out.pad(random(min(padding, MaxPadding)))
	}
	return out
}

// Encoder compresses one body.
type Encoder struct {
	resetter
	from   *family
	to     io.Writer
	before []byte // padding before the end of the body
	after  []byte // padding behind it
}

// Close ends the body. It does not close the writer below.
func (e *Encoder) Close() error {
	if e.before != nil {
		if err := e.Flush(); err != nil {
			return err
		}
		if _, err := e.to.Write(e.before); err != nil {
			return err
		}
	}
	if err := e.resetter.Close(); err != nil || e.after == nil {
		return err
	}
	_, err := e.to.Write(e.after)
	return err
}

// Release gives the encoder back to its Pool, whether the body has ended or not. It must not be
// used afterwards.
func (e *Encoder) Release() {
	e.Reset(io.Discard) // it must not keep the writer
	e.from.free.Put(e.resetter)
	e.resetter = nil
}

type gzipEncoder struct{ *gzip.Writer }

func newGzip(level int) gzipEncoder {
	w, _ := gzip.NewWriterLevel(io.Discard, level) // fails for a wrong level only
	return gzipEncoder{w}
}

func newBrotli(level int) *brotli.Writer {
	return brotli.NewWriterOptions(io.Discard, brotli.WriterOptions{Quality: level, LGWin: 19})
}

type zstdEncoder struct{ *zstd.Encoder }

const (
	// smallPiece is the size from which on a piece is not small.
	smallPiece = 512
	// lowestWithHistory is the lowest level of gzip whose encoder finds repetitions of earlier
	// pieces in pieces of less than 128 bytes. The levels below make them larger than they are.
	lowestWithHistory = 7
	// maxBlockLevel is the highest level of the encoder for whole bodies.
	maxBlockLevel = 9
	// minBlock is the size of a body from which on that encoder is the faster one.
	minBlock = 8 << 10
)

// blockEncoder is brotli's encoder for whole bodies. It is up to twice as fast as the other one,
// and cannot flush.
type blockEncoder struct{ *matchfinder.Writer }

func (blockEncoder) Flush() error { return nil }
