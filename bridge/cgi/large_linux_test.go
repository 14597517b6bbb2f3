package cgi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// block is what upload and big.cgi are made of: 8-byte numbers.
func block(word uint64, size int) []byte {
	b := make([]byte, 0, size)
	for len(b) < size {
		b = binary.BigEndian.AppendUint64(b, word)
		word++
	}
	return b[:size]
}

// upload is a Receive of total bytes in pieces of 64 KB, and their hash.
func upload(total int) (pagi.Receive, hash.Hash) {
	digest, sent := sha256.New(), 0
	return func(ctx context.Context) (pagi.Event, error) {
		if sent == total {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		piece := block(uint64(sent/8), min(64<<10, total-sent))
		digest.Write(piece)
		sent += len(piece)
		return pagi.HTTPRequest{Body: piece, More: sent < total}, nil
	}, digest
}

// sink is a Send that hashes the body.
type sink struct {
	digest   hash.Hash
	size     int
	complete bool
}

func (s *sink) send(_ context.Context, ev pagi.Event) error {
	if b, is := ev.(pagi.HTTPResponseBody); is {
		s.digest.Write(b.Body)
		s.size += len(b.Body)
		s.complete = !b.More
	}
	return nil
}

// TestLargeBodiesInFlatMemory sends 100 MB in and gets 1 GB out. With the race detector, with
// which memory is not flat, it is less; scripts/test runs the test without, too.
func TestLargeBodiesInFlatMemory(t *testing.T) {
	in, out := 100<<20, 1<<30
	if testing.Short() || raceEnabled {
		in, out = 10<<20, 20<<20
	}
	application := build(t, CGI{})
	resetPeak(t)
	before := residentPeak(t)

	for _, announced := range []bool{true, false} {
		scope := ask{method: "POST", target: "/sha.cgi"}.scope()
		length := fmt.Sprint(in) // of a chunked body it is found out
		if announced {
			scope.Headers.Add("content-length", length)
		}
		receive, digest := upload(in)
		res := &result{}
		if err := application.Serve(t.Context(), scope, receive, res.take(pagi.TypeHTTP)); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d %x %s\n", in, digest.Sum(nil), length); res.body != want {
			t.Errorf("upload, announced %v: %q, want %q", announced, res.body, want)
		}
	}

	application = build(t, CGI{Chunked: ChunkedStream})
	both := &sink{digest: sha256.New()}
	receive, digest := upload(in)
	if err := application.Serve(t.Context(), ask{method: "POST", target: "/cat.cgi"}.scope(), receive, both.send); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%x", digest.Sum(nil)) != fmt.Sprintf("%x", both.digest.Sum(nil)) || both.size != in || !both.complete {
		t.Errorf("through cat: %d bytes, complete %v", both.size, both.complete)
	}

	down := &sink{digest: sha256.New()}
	scope := ask{target: fmt.Sprintf("/big.cgi?%d", out)}.scope()
	if err := application.Serve(t.Context(), scope, ask{}.receive(), down.send); err != nil {
		t.Fatal(err)
	}
	want := sha256.New()
	for sent := 0; sent < out; sent += 64 << 10 {
		want.Write(block(uint64(sent/8), min(64<<10, out-sent)))
	}
	if down.size != out || !down.complete || fmt.Sprintf("%x", want.Sum(nil)) != fmt.Sprintf("%x", down.digest.Sum(nil)) {
		t.Errorf("download: %d bytes, complete %v, or wrong bytes", down.size, down.complete)
	}

	if grown := residentPeak(t) - before; grown > 40<<20 && !raceEnabled {
		t.Errorf("memory grew by %d MB", grown>>20)
	}
}

// TestBodiesOver4GB sends more than 32 bits can count through a script, both ways; with the
// race detector it is less, as above.
func TestBodiesOver4GB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	size := int64(1<<32 + 12345)
	if raceEnabled {
		size = 1<<28 + 12345
	}
	piece, sent, got := make([]byte, 1<<20), int64(0), int64(0)
	scope := ask{method: "POST", target: "/count.cgi"}.scope()
	scope.Headers.Add("content-length", fmt.Sprint(size))
	receive := func(ctx context.Context) (pagi.Event, error) {
		if sent == size {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		n := min(int64(len(piece)), size-sent)
		sent += n
		return pagi.HTTPRequest{Body: piece[:n], More: sent < size}, nil
	}
	var length string
	send := func(_ context.Context, ev pagi.Event) error {
		switch e := ev.(type) {
		case pagi.HTTPResponseStart:
			length = e.Headers.Get("x-length")
		case pagi.HTTPResponseBody:
			got += int64(len(e.Body))
		}
		return nil
	}
	if err := build(t, CGI{}).Serve(t.Context(), scope, receive, send); err != nil {
		t.Fatal(err)
	}
	if length != fmt.Sprint(size) || got != size {
		t.Errorf("CONTENT_LENGTH %s, %d bytes back; want %d", length, got, size)
	}
}

func TestAPipeIsEnlarged(t *testing.T) {
	p, err := job.NewPipe(false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Enlarge()
	size, err := unix.FcntlInt(uintptr(p.Theirs()), unix.F_GETPIPE_SZ, 0)
	if err != nil || size != 512<<10 {
		t.Errorf("%d bytes, %v", size, err)
	}
}
