package coding_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pagi-go/pagi-bridge/internal/coding"
)

func decode(t *testing.T, name string, body []byte) string {
	t.Helper()
	var r io.Reader = brotli.NewReader(bytes.NewReader(body))
	var err error
	switch name {
	case coding.Gzip:
		r, err = gzip.NewReader(bytes.NewReader(body))
	case coding.Zstd:
		r, err = zstd.NewReader(bytes.NewReader(body))
	}
	if err != nil {
		t.Fatal(name, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(name, err)
	}
	return string(plain)
}

var names = []string{coding.Gzip, coding.Brotli, coding.Zstd}

func TestEveryLevelOfEveryCoding(t *testing.T) {
	text := strings.Repeat("all work and no play ", 5000)
	for _, name := range names {
		for level := 1; level <= coding.MaxLevel(name); level++ {
			p := coding.NewPool(name, level)
			for _, size := range []int64{int64(len(text)), -1, int64(len(text)), -1} {
				var out bytes.Buffer
				e := p.Get(&out, size, 9999, 0)
				if _, err := io.WriteString(e, text); err != nil {
					t.Fatal(err)
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				e.Release()
				if got := decode(t, name, out.Bytes()); got != text || out.Len() > len(text)/10 {
					t.Errorf("%s of level %d, size %d: %d bytes from %d", name, level, size, len(got), out.Len())
				}
			}
		}
	}
}

// TestBrowsersTakeTheWindowOfZstd: they refuse a window of more than 8 MiB (RFC 9659 section 3).
func TestBrowsersTakeTheWindowOfZstd(t *testing.T) {
	for level := 1; level <= coding.MaxLevel(coding.Zstd); level++ {
		for _, size := range []int64{-1, 10 << 20} {
			var out bytes.Buffer
			e := coding.NewPool(coding.Zstd, level).Get(&out, size, 9999, 0)
			piece := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
			for range 10 {
				e.Write(piece)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			var header zstd.Header
			if err := header.Decode(out.Bytes()); err != nil || header.WindowSize > 8<<20 || header.FrameContentSize > 8<<20 && header.SingleSegment {
				t.Errorf("level %d: %+v %v", level, header, err)
			}
		}
	}
}

func TestAFlushMakesAllReadable(t *testing.T) {
	for _, name := range names {
		for _, padding := range []int{0, 100} {
			p := coding.NewPool(name, 2)
			var out bytes.Buffer
			e := p.Get(&out, -1, padding, padding)
			want := ""
			for i := range 5 {
				want += fmt.Sprintf("event %d\n", i)
				fmt.Fprintf(e, "event %d\n", i)
				if err := e.Flush(); err != nil {
					t.Fatal(err)
				}
				if got := decode(t, name, out.Bytes()); got != want {
					t.Errorf("%s, padding %d: %q after %q", name, padding, got, want)
				}
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e.Release()
			if got := decode(t, name, out.Bytes()); got != want {
				t.Errorf("%s: %q at the end", name, got)
			}
		}
	}
}

func TestPadding(t *testing.T) {
	for _, name := range names {
		p := coding.NewPool(name, 4)
		sizes := map[int]bool{}
		for range 200 {
			for _, size := range []int64{-1, 16, 1 << 20} {
				var out bytes.Buffer
				e := p.Get(&out, size, 0, 1000)
				io.WriteString(e, "the secret is 42")
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				e.Release()
				if got := decode(t, name, out.Bytes()); got != "the secret is 42" {
					t.Fatalf("%s: %q", name, got)
				}
				sizes[out.Len()] = true
			}
		}
		if len(sizes) < 100 {
			t.Errorf("%s: only %d different sizes", name, len(sizes))
		}
		var out bytes.Buffer
		e := p.Get(&out, -1, 0, 0)
		e.Close()
		e.Release()
		if out.Len() > 30 {
			t.Errorf("%s: an encoder keeps the padding of an earlier body", name)
		}
	}
}

// TestSmallPieces: lines of a log or of an event stream must become smaller, too.
func TestSmallPieces(t *testing.T) {
	for _, name := range names {
		for level := 1; level < 10; level++ {
			var out, want bytes.Buffer
			e := coding.NewPool(name, level).Get(&out, -1, 90, 0)
			for i := range 200 {
				line := fmt.Sprintf("2026-11-29 10:%02d:%02d the user %x has asked for page %d of the list\n", i/60, i%60, i*7919, i%7)
				want.WriteString(line)
				io.WriteString(e, line)
				if err := e.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			e.Close()
			e.Release()
			if decode(t, name, out.Bytes()) != want.String() || out.Len() > want.Len()*6/10 {
				t.Errorf("%s of level %d: %d bytes of %d", name, level, out.Len(), want.Len())
			}
		}
	}
}

type failing struct{}

var errFull = errors.New("full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestAnEncoderWorksAgainAfterAWriterFailed(t *testing.T) {
	for _, name := range names {
		for _, padding := range []int{0, 9} {
			p := coding.NewPool(name, 3)
			e := p.Get(failing{}, -1, 0, padding)
			_, err := io.WriteString(e, "x")
			if err = errors.Join(err, e.Flush(), e.Close()); !errors.Is(err, errFull) {
				t.Errorf("%s: %v", name, err)
			}
			e.Release()
			var out bytes.Buffer
			e = p.Get(&out, -1, padding, padding)
			io.WriteString(e, "y")
			if err := e.Close(); err != nil || decode(t, name, out.Bytes()) != "y" {
				t.Errorf("%s afterwards: %v", name, err)
			}
		}
	}
}

func TestBodiesBesideEachOther(t *testing.T) {
	for _, name := range names {
		p := coding.NewPool(name, 2)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				text := strings.Repeat(fmt.Sprint(i), 1000)
				for range 20 {
					var out bytes.Buffer
					e := p.Get(&out, int64(i%2)<<20, 0, 0)
					io.WriteString(e, text)
					e.Close()
					e.Release()
					if decode(t, name, out.Bytes()) != text {
						t.Error(name, "mixes bodies up")
					}
				}
			})
		}
		all.Wait()
	}
}

func TestLevelsAndCodingsThatThereAreNot(t *testing.T) {
	if coding.MaxLevel("deflate") != 0 {
		t.Error("deflate has a level")
	}
	for name, level := range map[string]int{"deflate": 1, coding.Gzip: 10, coding.Zstd: 0} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of level %d is made", name, level)
				}
			}()
			coding.NewPool(name, level)
		}()
	}
}
