package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// These bytes are also in perl/t/wire.t, so that both sides agree on them.
const (
	namesHex = "00000019" + "00000000" + "05" + "00" +
		"0000" + "0000000e" + "524551554553545f4d4554484f44" + "00000001" + "41"
	requestHex = "0000000b" + "00000007" + "01" + "00" +
		"0000" + "474554" + "00" + "00" + "626f6479"
	responseHex = "00000017" + "00000007" + "13" + "01" +
		"00c8" + "00000001" + "00000003" + "582d41" + "00000001" + "31" + "68656c6c6f"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestBytes(t *testing.T) {
	var table NameTable
	var b RequestBuilder
	for range 2 { // the second time in the same buffer
		b.Begin(&table)
		b.Pair("REQUEST_METHOD", "GET")
		b.Pair("A", "")
		b.Body([]byte("body"))
		got, err := b.Frame(7)
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) != requestHex {
			t.Errorf("got  %x\nwant %s", got, requestHex)
		}
		if names := hex.EncodeToString(b.Names().Frame); names != namesHex {
			t.Errorf("names\ngot  %s\nwant %s", names, namesHex)
		}
	}
	again, err := b.Frame(8)
	if err != nil || again[7] != 8 {
		t.Errorf("for another stream: % x, %v", again[:HeaderSize], err)
	}
}

func TestRequestWithABodyFile(t *testing.T) {
	var table NameTable
	var b RequestBuilder
	b.Begin(&table)
	b.BodyFile("/tmp/x")
	frame, err := b.Frame(1)
	if err != nil || frame[9] != FlagBodyFile || !bytes.HasSuffix(frame, []byte("/tmp/x")) {
		t.Errorf("% x, %v", frame, err)
	}
	b.Begin(&table)
	b.Body(nil)
	if frame, err := b.Frame(1); err != nil || frame[9] != 0 {
		t.Errorf("the flag is still set: % x, %v", frame, err)
	}
}

func TestRequestTooLarge(t *testing.T) {
	var table NameTable
	var b RequestBuilder
	b.Begin(&table)
	b.Pair("X", strings.Repeat("x", MaxPayload))
	b.Body(nil)
	if _, err := b.Frame(1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestRequestWithANUL(t *testing.T) {
	var table NameTable
	var b RequestBuilder
	b.Begin(&table)
	b.Pair("PATH_INFO", "/a\x00b")
	b.Body([]byte("a body\x00may have one"))
	if _, err := b.Frame(1); !errors.Is(err, ErrNUL) {
		t.Errorf("error %v", err)
	}
}

// Lists of names share the places. A list keeps its place until another list gets it.
func TestNameTable(t *testing.T) {
	var table NameTable
	list := func(name string) *NameList {
		var b RequestBuilder
		b.Begin(&table)
		b.Pair(name, "")
		b.Body(nil)
		return b.Names()
	}
	first := list("A")
	if list("A") != first || list("B") == first {
		t.Fatal("a list is not its names'")
	}
	for i := range MaxNames {
		if n := list(fmt.Sprint("N", i)); n.Place != (i+2)%MaxNames {
			t.Fatalf("list %d has place %d", i, n.Place)
		}
	}
	if list(fmt.Sprint("N", MaxNames-1)).Place != 1 {
		t.Error("the newest list was forgotten")
	}
	if again := list("A"); again == first || again.Place != 2 {
		t.Errorf("a list that lost its place is still known: %+v", again)
	}
	if n := len(*table.known.Load()); n != MaxNames {
		t.Errorf("%d lists are known", n)
	}
}

// A table may be used by many requests at once.
func TestNameTableIsShared(t *testing.T) {
	var table NameTable
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var b RequestBuilder
			for i := range 500 {
				b.Begin(&table)
				name := fmt.Sprint((g + i) % 100)
				b.Pair(name, "")
				b.Body(nil)
				if got := b.Names().Frame[HeaderSize+6:]; string(got) != name {
					t.Errorf("names of %s: %q", name, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestReadResponse(t *testing.T) {
	stream := unhex(t, responseHex)
	r := NewReader(bytes.NewReader(append(stream, stream...)), nil)
	for range 2 {
		f, err := r.Next()
		if err != nil || f.Type != Response || f.Stream != 7 || !f.Has(FlagFin) || f.Has(FlagBusy) {
			t.Fatalf("%+v, %v", f, err)
		}
		head, rest, err := DecodeHead(f.Type, f.Payload)
		want := Head{Status: 200, Headers: pagi.Headers{{Name: "x-a", Value: "1"}}}
		if diff := cmp.Diff(want, head); diff != "" || err != nil || string(rest) != "hello" {
			t.Errorf("rest %q, %v\n%s", rest, err, diff)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// A stream cut at any byte is an error, and only a cut between frames is EOF.
func TestCutAtEveryByte(t *testing.T) {
	stream := unhex(t, responseHex)
	for n := range stream {
		_, err := ReadFrame(bytes.NewReader(stream[:n]), nil)
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if err != want {
			t.Errorf("after %d bytes: %v, want %v", n, err, want)
		}
	}
	payload := stream[HeaderSize : len(stream)-5] // without the body, which may have any length
	for n := range payload {
		if _, _, err := DecodeHead(Response, payload[:n:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("a payload of %d bytes: %v", n, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	long := unhex(t, "01000001"+"00000001"+"1400")
	if _, err := ReadFrame(bytes.NewReader(long), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the size limit: %v", err)
	}
	for name, decode := range map[string]func() error{
		"a count beyond the payload": func() error { _, _, err := DecodeHead(Response, unhex(t, "00c8"+"ffffffff")); return err },
		"a length beyond the payload": func() error {
			_, _, err := DecodeHead(Response, unhex(t, "00c8"+"00000001"+"000000ff"+"00000000"))
			return err
		},
		"no version":            func() error { _, err := DecodeHello(nil); return err },
		"a token that is cut":   func() error { _, err := DecodeHello(unhex(t, "00000001"+"00000002"+"00000009"+"41")); return err },
		"a file without a path": func() error { _, err := DecodeFile(Frame{Payload: make([]byte, 32)}); return err },
		"a file with a relative path": func() error {
			_, err := DecodeFile(Frame{Payload: append(make([]byte, 32), "etc/passwd"...)})
			return err
		},
		"a negative offset": func() error {
			p := append(make([]byte, 32), "/f"...)
			p[0] = 0x80
			_, err := DecodeFile(Frame{Payload: p})
			return err
		},
		"a descriptor with a path": func() error {
			_, err := DecodeFile(Frame{Flags: FlagDescriptor, Payload: append(make([]byte, 32), "/f"...)})
			return err
		},
		"an empty abort":             func() error { _, _, err := DecodeAbort(nil); return err },
		"a fork without a pid":       func() error { _, err := DecodeForked([]byte{0, 0}); return err },
		"a forked token that is cut": func() error { _, err := DecodeForked(unhex(t, "0000002a"+"00000009"+"41")); return err },
		"an end without a status":    func() error { _, _, err := DecodeExited(unhex(t, "0000002a"+"0000")); return err },
	} {
		if err := decode(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPairs(t *testing.T) {
	list := AppendPairs(nil, "Socket", "/run/S", "token", "")
	pairs, err := DecodePairs(bytes.Clone(list))
	if diff := cmp.Diff(pagi.NewHeaders("socket", "/run/S", "token", ""), pairs); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for n := range list {
		if _, err := DecodePairs(bytes.Clone(list[:n])); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if _, err := DecodePairs(append(list, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("with one byte more: %v", err)
	}
}

func TestHelloFileAbort(t *testing.T) {
	hello := AppendPairs(append(unhex(t, "00000002"+"0000002a"+"00000003"), "tok"...), "runtime", "perl")
	h, err := DecodeHello(hello) // of version 2
	want := HelloPayload{Versions: Versions{0, 2}, PID: 42, Token: "tok", Offer: Offer{Runtime: "perl"}.WithDefaults()}
	if diff := cmp.Diff(want, h); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	file := append(unhex(t, strings.Repeat("00", 7)+"05"+strings.Repeat("00", 7)+"09"+strings.Repeat("00", 7)+"01"+strings.Repeat("00", 7)+"02"), "/srv/f"...)
	f, err := DecodeFile(Frame{Payload: file})
	if diff := cmp.Diff(FileRef{5, 9, 1, 2, "/srv/f"}, f); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	kind, message, err := DecodeAbort(append([]byte{AbortInvalid}, "why"...))
	if kind != AbortInvalid || message != "why" || err != nil {
		t.Errorf("%d %q %v", kind, message, err)
	}
}

// These bytes, too, are in perl/t/wire.t.
const (
	forkHex   = "00000032" + "00000000" + "04" + "00" + "00000003" + "00000005" + "746f6b656e" + "00000001" + "54" + "00000006" + "776f726b6572" + "00000001" + "39" + "00000006" + "6f7574707574" + "00000003" + "2f702f"
	forkedHex = "0000002a" + "00000001" + "54" + "6e6f"
	exitedHex = "0000002a" + "00000700"
)

func TestForking(t *testing.T) {
	if got := hex.EncodeToString(AppendFork(nil, ForkPayload{Token: "T", Worker: 9, Output: "/p/"})); got != forkHex {
		t.Errorf("got  %s\nwant %s", got, forkHex)
	}
	f, err := DecodeForked(unhex(t, forkedHex))
	if diff := cmp.Diff(ForkedPayload{PID: 42, Token: "T", Error: "no"}, f); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if pid, status, err := DecodeExited(unhex(t, exitedHex)); pid != 42 || status != 7<<8 || err != nil {
		t.Errorf("%d %#x %v", pid, status, err)
	}
}

func TestTypeNames(t *testing.T) {
	for typ, want := range map[Type]string{Request: "REQUEST", Exiting: "EXITING", Fork: "FORK", Forked: "FORKED", Exited: "EXITED", 0x77: "0x77"} {
		if typ.String() != want {
			t.Errorf("%s, want %s", typ, want)
		}
	}
}

func TestDecodeLoaded(t *testing.T) {
	for hexed, want := range map[string]string{
		"":                       "[]",
		"000000022f61":           "[/a]",
		"000000022f61000000012f": "[/a /]",
		"0000000161":             "error", // relative
		"00000000":               "error", // empty
		"000000032f61":           "error", // longer than it is
		"000000022f6100":         "error", // something behind it
	} {
		p, err := hex.DecodeString(hexed)
		if err != nil {
			t.Fatal(err)
		}
		files, err := DecodeLoaded(p)
		got := fmt.Sprint(files)
		if err != nil {
			got = "error"
		}
		if got != want || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %s, %v, want %s", hexed, got, err, want)
		}
	}
}

func BenchmarkDecodeHead(b *testing.B) {
	payload := AppendPairs([]byte{0, 200}, "content-type", "text/plain", "content-length", "11")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeHead(Response, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// endless repeats a frame for ever.
type endless struct {
	frame []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.frame[e.at:])
	e.at = (e.at + n) % len(e.frame)
	return n, nil
}

// Once buffers and lists of names exist, frames cost no allocation.
func TestFramesDoNotAllocate(t *testing.T) {
	var table NameTable
	var b RequestBuilder
	buffer := make([]byte, 4096)
	reader := NewReader(&endless{frame: unhex(t, responseHex)}, func(n int) *[]byte { buffer = buffer[:n]; return &buffer })
	for name, work := range map[string]func() error{
		"a REQUEST that is made": func() error {
			b.Begin(&table)
			b.Pair("REQUEST_METHOD", "GET")
			b.Pair("PATH_INFO", "/")
			b.Body(nil)
			_, err := b.Frame(1)
			return err
		},
		"a RESPONSE that is read": func() error { _, err := reader.Next(); return err },
	} {
		if n := testing.AllocsPerRun(1000, func() {
			if err := work(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestAScopeCarriesTheClientsIdentity(t *testing.T) {
	scope := (&pagi.Scope{Type: pagi.TypeHTTP}).With(scopekey.Auth, pagi.Auth{Type: "basic", Username: "ann"}).With(scopekey.RequestID, "r1")
	b, err := AppendScope(nil, 1, scope)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeScope(b[HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	auth, _ := got.Auth()
	if auth.Username != "ann" || auth.Type != "basic" || got.Value(scopekey.RequestID) != "r1" {
		t.Errorf("%+v, %v", auth, got.Value(scopekey.RequestID))
	}
}

// The environment of a PSGI application crosses as the data of an extension, which the Go side does not read again.
func TestScopeWithAnEnvironment(t *testing.T) {
	t.Parallel()
	pairs := Pairs{"PATH_INFO", "/", "QUERY_STRING", ""}
	frame, err := AppendScope(nil, 1, &pagi.Scope{Type: pagi.TypeHTTP, Extensions: map[string]any{ExtEnviron: pairs}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(frame, AppendPairs(nil, pairs...)) {
		t.Errorf("%q", frame)
	}
	if scope, err := DecodeScope(frame[HeaderSize:]); err != nil || !scope.HasExtension(ExtEnviron) {
		t.Errorf("%+v, %v", scope, err)
	}
}
