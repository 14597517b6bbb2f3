package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// The inputs that the fuzzers have found are in testdata/fuzz. go test runs them, and make fuzz
// looks for more.

// streams returns whole streams of frames, with which the fuzzers begin.
func streams(f *testing.F) (list [][]byte) {
	for _, s := range []string{
		namesHex, requestHex, responseHex, responseHex + requestHex + responseHex,
		"0000000400000000180168690a0a", "00000022000000011501", "01000001000000011400",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// FuzzDecode feeds every decoder with any bytes. None may panic, and each must refuse a length
// beyond the end of its input.
func FuzzDecode(f *testing.F) {
	for _, b := range streams(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream), nil)
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			p := frame.Payload
			if head, rest, err := DecodeHead(Response, bytes.Clone(p)); err == nil {
				size := 6
				for _, h := range head.Headers {
					size += 8 + len(h.Name) + len(h.Value)
				}
				if size+len(rest) != len(p) {
					t.Fatalf("%d bytes decoded of %d", size+len(rest), len(p))
				}
			}
			_, _ = DecodeHello(bytes.Clone(p))
			_, _ = DecodeFile(Frame{Payload: p})
			_, _, _ = DecodeAbort(p)
			if files, err := DecodeLoaded(p); err == nil {
				size := 0
				for _, file := range files {
					size += 4 + len(file)
				}
				if size != len(p) {
					t.Fatalf("%d bytes of names in %d", size, len(p))
				}
			}
			_, _ = DecodeForked(p)
			_, _, _ = DecodeExited(p)
		}
	})
}

// read returns the frames of a stream, each as it was, and the error they end with.
func read(r io.Reader, alloc Allocator) (frames [][]byte, err error) {
	reader := NewReader(r, alloc)
	for {
		frame, err := reader.Next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, AppendFrame(nil, frame.Type, frame.Flags, frame.Stream, frame.Payload))
	}
}

// FuzzReader reads a stream whole, byte by byte, and cut at every byte. The frames are the same,
// and only a cut between two frames looks like the end.
func FuzzReader(f *testing.F) {
	for _, b := range streams(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 2<<10 {
			t.Skip("too long to be cut at every byte")
		}
		frames, end := read(bytes.NewReader(stream), nil)
		whole := bytes.Join(frames, nil)
		if !bytes.HasPrefix(stream, whole) {
			t.Fatalf("frames that were never sent: %x", whole)
		}
		switch rest := len(stream) - len(whole); {
		case errors.Is(end, ErrTooLarge):
			if rest < HeaderSize {
				t.Fatalf("%v after %d bytes of a frame", end, rest)
			}
		case end != io.EOF && end != io.ErrUnexpectedEOF, end == io.EOF != (rest == 0):
			t.Fatalf("%v with %d bytes left", end, rest)
		}
		used := make([]byte, 1<<20)
		slow, err := read(iotest.OneByteReader(bytes.NewReader(stream)), func(n int) *[]byte {
			b := append([]byte(nil), used[:min(n, len(used))]...)
			b = append(b, make([]byte, n-len(b))...)
			return &b
		})
		if !bytes.Equal(bytes.Join(slow, nil), whole) || !sameEnd(err, end) {
			t.Fatalf("byte by byte: %d frames and %v, at once: %d and %v", len(slow), err, len(frames), end)
		}
		border, complete := 0, 0
		for n := range len(stream) {
			if complete < len(frames) && n == border+len(frames[complete]) {
				border = n
				complete++
			}
			cut, err := read(bytes.NewReader(stream[:n]), nil)
			if len(cut) != complete {
				t.Fatalf("%d frames in the first %d bytes, want %d", len(cut), n, complete)
			}
			if wantEOF := n == border; err == io.EOF != wantEOF {
				t.Fatalf("cut after %d bytes: %v", n, err)
			}
		}
	})
}

func sameEnd(a, b error) bool {
	return a == b || errors.Is(a, ErrTooLarge) && errors.Is(b, ErrTooLarge)
}

// FuzzRequest builds requests and takes them apart again, as a worker does.
func FuzzRequest(f *testing.F) {
	f.Add("REQUEST_METHOD", "GET", "PATH_INFO", "/", []byte("body"), uint32(1), false)
	f.Add("", "", "\x00", "\xff", []byte{}, uint32(0), true)
	f.Add("A", "a\x00", "B", "b", []byte("c"), uint32(2), false)
	var table NameTable
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, body []byte, stream uint32, file bool) {
		var b RequestBuilder
		for range 2 { // the second time in the same buffer
			b.Begin(&table)
			b.Pair(name1, value1)
			b.Pair(name2, value2)
			if file {
				b.BodyFile(string(body))
			} else {
				b.Body(body)
			}
			encoded, err := b.Frame(stream)
			if strings.Contains(value1+value2, "\x00") {
				if !errors.Is(err, ErrNUL) {
					t.Fatalf("a NUL: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			frame, err := ReadFrame(bytes.NewReader(encoded), nil)
			if err != nil || frame.Type != Request || frame.Stream != stream || frame.Has(FlagBodyFile) != file {
				t.Fatalf("%+v, %v", frame, err)
			}
			names, err := ReadFrame(bytes.NewReader(b.Names().Frame), nil)
			if err != nil || names.Type != Names || names.Stream != 0 {
				t.Fatalf("%+v, %v", names, err)
			}
			place := binary.BigEndian.Uint16(frame.Payload)
			if place >= MaxNames || place != binary.BigEndian.Uint16(names.Payload) {
				t.Fatalf("the request says place %d, its names %x", place, names.Payload)
			}
			d := decoder{p: names.Payload[2:]}
			values := bytes.SplitN(frame.Payload[2:], []byte{0}, 3)
			for i, want := range []struct{ name, value string }{{name1, value1}, {name2, value2}} {
				if name := string(d.take(int(d.uint32()))); name != want.name || string(values[i]) != want.value {
					t.Fatalf("%q is %q, want %q %q", name, values[i], want.name, want.value)
				}
			}
			if d.bad || len(d.p) > 0 || !bytes.Equal(values[2], body) {
				t.Fatalf("%x is left of the names, the body is %q", d.p, values[2])
			}
		}
	})
}
