package mux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// The cases of bridge/wire/CONFORMANCE.md. What follows encodes frames by itself, so that a mistake in
// package wire is not made twice.

// text is a text of a case: "text", or {"repeat": "x", "times": 3}.
type text struct {
	given bool
	value string
}

func (x *text) UnmarshalJSON(b []byte) error {
	x.given = true
	if b[0] == '"' {
		return json.Unmarshal(b, &x.value)
	}
	var repeated struct {
		Repeat string
		Times  int
	}
	err := json.Unmarshal(b, &repeated)
	x.value = strings.Repeat(repeated.Repeat, repeated.Times)
	return err
}

// frameCase is a frame of a case.
type frameCase struct {
	Type   string
	Stream *uint32
	Flags  []string
	Hex    *string
	Scope  *scopeCase
	Event  string
	Bits   []string
	Number int
	Pairs  [][2]string
	Rest   text
	Joined bool
	Code   int
	Bytes  uint32
}

type scopeCase struct {
	Type, Method, Scheme, Path, Target, Client, Server, Worker string

	HTTPVersion string `json:"http_version"`
	RawPath     string `json:"raw_path"`
	QueryString string `json:"query_string"`
	RootPath    string `json:"root_path"`
	ClientPort  string `json:"client_port"`
	ServerPort  string `json:"server_port"`

	More, Subprotocols  []string
	Headers, Extensions [][2]string
}

var typeNumbers = map[string]byte{
	"DRAIN": 0x03, "SCOPE": 0x06, "DISCONNECT": 0x07, "REPLY": 0x08, "READY": 0x11, "END": 0x1e, "CALL": 0x1f,
	"PING": 0x22, "PONG": 0x23, "CREDIT": 0x24, "EVENT": 0x25,
}

var flagNumbers = map[string]byte{"DESCRIPTOR": 0x08, "PART": 0x10, "QUIET": 0x20}

var bitNumbers = map[string]byte{"MORE": 1, "BINARY": 2, "TRAILERS": 4}

var eventNumbers = map[string]byte{
	"http.request": 0x01, "websocket.connect": 0x02, "websocket.receive": 0x03, "sse.request": 0x04, "lifespan.startup": 0x05, "lifespan.shutdown": 0x06,
	"http.response.informational": 0x10, "http.response.start": 0x11, "http.response.body": 0x12, "http.response.trailers": 0x14, "http.fullflush": 0x15,
	"websocket.accept": 0x20, "websocket.send": 0x21, "websocket.keepalive": 0x22, "websocket.close": 0x23,
	"websocket.http.response.start": 0x24, "websocket.http.response.body": 0x25,
	"sse.start": 0x30, "sse.send": 0x31, "sse.comment": 0x32, "sse.keepalive": 0x33, "sse.close": 0x34,
	"sse.http.response.start": 0x35, "sse.http.response.body": 0x36,
	"lifespan.startup.complete": 0x40, "lifespan.startup.failed": 0x41, "lifespan.shutdown.complete": 0x42, "lifespan.shutdown.failed": 0x43,
}

func number(t *testing.T, names map[string]byte, list ...string) (sum byte) {
	t.Helper()
	for _, name := range list {
		n, known := names[name]
		if !known {
			value, err := strconv.ParseUint(name, 0, 8)
			if err != nil {
				t.Fatalf("a case has the unknown name %q", name)
			}
			n = byte(value)
		}
		sum |= n
	}
	return sum
}

func stringBytes(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func listBytes(list ...string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(list)))
	for _, s := range list {
		b = append(b, stringBytes(s)...)
	}
	return b
}

func pairBytes(pairs [][2]string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, p := range pairs {
		b = append(append(b, stringBytes(p[0])...), stringBytes(p[1])...)
	}
	return b
}

func (s *scopeCase) payload() []byte {
	b := []byte{byte(1 + slices.Index([]string{"http", "websocket", "sse", "lifespan"}, s.Type))}
	values := []string{
		s.HTTPVersion, s.Method, s.Scheme, s.Path, s.RawPath, s.Target, s.QueryString, s.RootPath, s.Client, s.ClientPort, s.Server, s.ServerPort, s.Worker,
	}
	b = append(b, listBytes(append(values, s.More...)...)...)
	b = append(b, pairBytes(s.Headers)...)
	b = append(b, listBytes(s.Subprotocols...)...)
	return append(b, pairBytes(s.Extensions)...)
}

func (f *frameCase) stream() uint32 {
	switch {
	case f.Stream != nil:
		return *f.Stream
	case f.Type == "DRAIN", f.Type == "PING", f.Type == "PONG", f.Type == "READY":
		return 0
	}
	return 1
}

func (f *frameCase) payload(t *testing.T) []byte {
	t.Helper()
	switch {
	case f.Hex != nil:
		b, err := hex.DecodeString(*f.Hex)
		if err != nil {
			t.Fatal(err)
		}
		return b
	case f.Scope != nil:
		return f.Scope.payload()
	case f.Event != "":
		b := []byte{number(t, eventNumbers, f.Event), number(t, bitNumbers, f.Bits...)}
		b = binary.BigEndian.AppendUint16(b, uint16(f.Number))
		return append(append(b, pairBytes(f.Pairs)...), f.Rest.value...)
	case f.Type == "DISCONNECT":
		return append(binary.BigEndian.AppendUint16(nil, uint16(f.Code)), f.Rest.value...)
	case f.Type == "END":
		return append([]byte{byte(f.Code)}, f.Rest.value...)
	case f.Type == "CREDIT":
		return binary.BigEndian.AppendUint32(nil, f.Bytes)
	}
	return []byte(f.Rest.value)
}

func (f *frameCase) encode(t *testing.T) []byte {
	t.Helper()
	p := f.payload(t)
	b := binary.BigEndian.AppendUint32(nil, uint32(len(p)))
	b = binary.BigEndian.AppendUint32(b, f.stream())
	return append(append(b, number(t, typeNumbers, f.Type), number(t, flagNumbers, f.Flags...)), p...)
}

// peer is the test's end of a connection.
type peer struct {
	t       *testing.T
	conn    net.Conn
	reader  *wire.Reader
	held    []wire.Frame
	parts   map[uint32][]byte
	windows map[uint32]int // what the other side may still send
	strict  bool           // settled allows no CREDIT
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	return &peer{t: t, conn: conn, reader: wire.NewReader(conn, nil), parts: map[uint32][]byte{}, windows: map[uint32]int{}}
}

func (p *peer) send(f *frameCase) {
	p.t.Helper()
	if f.Type == "CREDIT" {
		p.windows[f.stream()] = p.window(f.stream()) + int(f.Bytes)
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(testkit.Patience))
	if _, err := p.conn.Write(f.encode(p.t)); err != nil {
		p.t.Logf("send %s: %v", f.Type, err) // the next step fails, unless it is the end that is expected
	}
}

func (p *peer) window(stream uint32) int {
	if left, known := p.windows[stream]; known {
		return left
	}
	return wire.DefaultWindow
}

// read reads the next frame as it is. It checks the window.
func (p *peer) read() (wire.Frame, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(testkit.Patience))
	f, err := p.reader.Next()
	if err == nil && f.Type == wire.EventPart {
		left := p.window(f.Stream) - len(f.Payload) - 10
		if p.windows[f.Stream] = left; left < 0 {
			p.t.Fatalf("an EVENT goes beyond the window of stream %d by %d bytes", f.Stream, -left)
		}
	}
	return f, err
}

// next returns the next frame of a stream, but CREDIT only if that is wanted. Parts of an event are
// put together. What comes on other streams is kept for later steps.
func (p *peer) next(stream uint32, credit bool) (wire.Frame, error) {
	for i, f := range p.held {
		if f.Stream == stream && !credit {
			p.held = slices.Delete(p.held, i, i+1)
			return f, nil
		}
	}
	for {
		f, err := p.read()
		if err != nil {
			return f, err
		}
		switch {
		case f.Type == wire.Credit:
			if credit && f.Stream == stream {
				return f, nil
			}
			continue
		case f.Type == wire.EventPart:
			if !p.assemble(&f) {
				continue
			}
		}
		if f.Stream == stream && !credit {
			return f, nil
		}
		p.held = append(p.held, f)
	}
}

func (p *peer) expect(want *frameCase) {
	p.t.Helper()
	f, err := p.next(want.stream(), want.Type == "CREDIT")
	if err != nil {
		p.t.Fatalf("want %s on stream %d: %v", want.Type, want.stream(), err)
	}
	if want.Joined {
		f = p.join(f)
	}
	payload := want.payload(p.t)
	same := bytes.Equal(f.Payload, payload)
	if want.Type == "END" && len(f.Payload) > 0 && f.Payload[0] == byte(want.Code) {
		same = strings.Contains(string(f.Payload[1:]), want.Rest.value)
	}
	if byte(f.Type) != number(p.t, typeNumbers, want.Type) || f.Stream != want.stream() || !same {
		p.t.Fatalf("got  %s on stream %d: %.200q\nwant %s on stream %d: %.200q", f.Type, f.Stream, f.Payload, want.Type, want.stream(), payload)
	}
}

// join puts a body together that comes in several events.
func (p *peer) join(f wire.Frame) wire.Frame {
	p.t.Helper()
	for f.Type == wire.EventPart && len(f.Payload) >= 8 && f.Payload[1]&bitNumbers["MORE"] != 0 {
		next, err := p.next(f.Stream, false)
		if err != nil || len(next.Payload) < 8 || next.Payload[0] != f.Payload[0] {
			p.t.Fatalf("%s %.100q instead of more of the body, %v", next.Type, next.Payload, err)
		}
		f.Payload = append(append(slices.Clone(next.Payload[:8]), f.Payload[8:]...), next.Payload[8:]...)
	}
	return f
}

// blocked makes sure that the other side sends on a stream what the window allows, and then no more.
func (p *peer) blocked(stream uint32) {
	p.t.Helper()
	for p.window(stream) >= 1100 {
		f, err := p.read()
		if err != nil {
			p.t.Fatalf("%d bytes of the window are left: %v", p.window(stream), err)
		}
		if f.Type == wire.EventPart && f.Stream == stream {
			p.keep(f)
		}
	}
	p.settled(func(f wire.Frame) bool {
		is := f.Type == wire.EventPart && f.Stream == stream
		if is {
			p.keep(f)
		}
		return is
	})
}

// keep keeps an EVENT for a later step.
func (p *peer) keep(f wire.Frame) {
	if f.Type == wire.EventPart && p.assemble(&f) {
		p.held = append(p.held, f)
	}
}

// assemble puts the parts of an event together, and reports whether f is now the whole.
func (p *peer) assemble(f *wire.Frame) bool {
	whole := append(p.parts[f.Stream], f.Payload...)
	if f.Has(wire.FlagPart) {
		p.parts[f.Stream] = whole
		return false
	}
	f.Payload = whole
	delete(p.parts, f.Stream)
	return true
}

// settled makes sure that nothing but the PONG comes, and frames that may.
func (p *peer) settled(may func(wire.Frame) bool) {
	p.t.Helper()
	p.send(&frameCase{Type: "PING", Rest: text{value: "settled?"}})
	for {
		f, err := p.read()
		if err != nil {
			p.t.Fatalf("no PONG: %v", err)
		}
		switch {
		case f.Type == wire.Pong && string(f.Payload) == "settled?":
			return
		case (f.Type != wire.Credit || p.strict) && !may(f):
			p.t.Fatalf("%s on stream %d where nothing is expected: %.100q", f.Type, f.Stream, f.Payload)
		}
	}
}

// end reads until the other side has closed the connection.
func (p *peer) end() {
	p.t.Helper()
	for {
		f, err := p.read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatal("the connection stays open")
		case err != nil:
			return
		}
		p.t.Logf("%s on stream %d before the end", f.Type, f.Stream)
	}
}

// step is a step of either list.
type step struct {
	Send, Expect *frameCase
	ExpectEnd    uint32 `json:"expect_end"`
	Blocked      uint32
	Settled      bool
	Strict       bool
	Hold         *bool
	Closed       bool
	Exited       bool

	Open      *scopeCase
	Receives  []*frameCase
	Leave     *frameCase
	Sent      *frameCase
	Returns   *string
	Violation string
}

type conformanceCase struct {
	Name  string
	Steps []step
}

func conformanceCases(t *testing.T, file string) (cases []conformanceCase) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "wire", "testdata", "conformance", file))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&cases); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return cases
}

// runWorker is a worker that is tested: it dials the socket and returns whether it has ended well.
type runWorker func(t *testing.T, socket string) (wait func() error)

func TestWorkers(t *testing.T) {
	for name, run := range map[string]runWorker{
		"go":     runGo,
		"python": runProgram("python3", filepath.Join("testdata", "worker.py")),
		"perl":   runProgram("perl", filepath.Join("..", "..", "perl", "t", "lib", "mux_worker.pl")),
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range conformanceCases(t, "worker.json") {
				t.Run(c.Name, func(t *testing.T) { testWorker(t, run, c) })
			}
		})
	}
}

func testWorker(t *testing.T, run runWorker, c conformanceCase) {
	p, wait := meet(t, run)
	for i, s := range c.Steps {
		t.Logf("step %d", i+1)
		switch {
		case s.Send != nil:
			p.send(s.Send)
		case s.Expect != nil:
			p.expect(s.Expect)
		case s.ExpectEnd > 0:
			for {
				f, err := p.read()
				if err != nil {
					t.Fatal(err)
				}
				if f.Type == wire.End && f.Stream == s.ExpectEnd {
					break
				}
			}
		case s.Blocked > 0:
			p.blocked(s.Blocked)
		case s.Settled:
			p.settled(func(wire.Frame) bool { return false })
		case s.Closed:
			p.end()
			if err := wait(); err == nil {
				t.Error("the worker ends as if all were well")
			} else {
				t.Log(err)
			}
			return
		case s.Exited:
			p.end()
			if err := wait(); err != nil {
				t.Errorf("the worker ends with %v", err)
			}
			return
		}
	}
	_ = p.conn.Close()
	_ = wait() // a worker whose gateway has gone exits, one way or the other
}

// meet starts a worker and greets it.
func meet(t *testing.T, run runWorker) (p *peer, wait func() error) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wait = run(t, l.Addr().String())
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(testkit.Patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err, wait())
	}
	t.Cleanup(func() { conn.Close() })
	p = newPeer(t, conn)
	hello, err := p.read()
	if err != nil || hello.Type != wire.Hello {
		t.Fatalf("%s %v", hello.Type, err)
	}
	if _, err := conn.Write(wire.AppendWelcome(nil, wire.WelcomePayload{Version: 3, Offer: wire.Offer{Features: wire.FeatureScopes | wire.FeaturePing}})); err != nil {
		t.Fatal(err)
	}
	if ready, err := p.read(); err != nil || ready.Type != wire.Ready {
		t.Fatalf("%s %v", ready.Type, err)
	}
	return p, wait
}

// runGo runs mux.Worker with the application of CONFORMANCE.md.
func runGo(t *testing.T, socket string) (wait func() error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		line, err := mux.Greet(conn, wire.Offer{Features: features}, "token")
		if err == nil {
			err = mux.NewWorker(line, &conformant{}, mux.WorkerOptions{}).Run(context.Background())
		}
		_ = conn.Close()
		ended <- err
	}()
	return func() error { return <-ended }
}

// runProgram runs a worker in another language.
func runProgram(name string, args ...string) runWorker {
	return func(t *testing.T, socket string) (wait func() error) {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("%s is not installed", name)
		}
		cmd := exec.Command(path, args...)
		cmd.Stdin = bytes.NewReader(wire.AppendPairs(nil, "socket", socket, "token", "token", "name", "/"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			err := cmd.Wait()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, stderr.String())
			}
			ended <- err
		}()
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return func() error {
			select {
			case err := <-ended:
				ended <- err
				return err
			case <-time.After(testkit.Patience):
				t.Error("the worker does not end")
				return nil
			}
		}
	}
}

// conformant is the application of CONFORMANCE.md.
type conformant struct{ started int }

func (a *conformant) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeLifespan:
		a.started++
		return sampleLifespan(ctx, scope, receive, send)
	case pagi.TypeWebSocket:
		return echoMessages(ctx, scope, receive, send)
	case pagi.TypeSSE:
		return countEvents(ctx, scope, send)
	}
	first, err := receive(ctx)
	if err != nil {
		return err
	}
	answer := func(status int, trailers bool, body string) error {
		start := pagi.HTTPResponseStart{Status: status, Headers: pagi.NewHeaders("content-type", "text/plain"), Trailers: trailers}
		if err := send(ctx, start); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte(body)})
	}
	var n int
	if _, err := fmt.Sscanf(scope.Path, "/stream/%d", &n); err == nil {
		return answer(200, false, strings.Repeat("x", n))
	}
	switch scope.Path {
	case "/hello":
		return answer(200, false, "hello")
	case "/scope":
		return answer(200, false, describe(scope))
	case "/state":
		return answer(200, false, strconv.Itoa(a.started))
	case "/echo":
		return echoPieces(ctx, first, receive, send)
	case "/trailers":
		return errors.Join(answer(200, true, "body"), send(ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-sum", "4")}))
	case "/stall":
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
			return err
		}
		for ev := first; ; {
			if _, gone := ev.(pagi.HTTPDisconnect); gone {
				return nil
			}
			if ev, err = receive(ctx); err != nil {
				return err
			}
		}
	case "/die":
		return errors.New("dead")
	case "/late":
		return errors.Join(answer(200, false, "done"), errors.New("late"))
	case "/invalid":
		return send(ctx, pagi.HTTPResponseBody{})
	case "/nothing":
		return nil
	}
	return answer(404, false, "no such page")
}

func describe(s *pagi.Scope) string {
	port := func(n int) string { return strings.TrimPrefix(strconv.Itoa(n), "0") }
	lines := []string{
		s.HTTPVersion, s.Method, s.Scheme, s.Path, s.RawPath, s.Target, s.QueryString, s.RootPath, s.Client.Host, port(s.Client.Port), s.Server.Host,
		port(s.Server.Port), "",
	}
	for _, h := range s.Headers {
		lines = append(lines, h.Name+": "+h.Value)
	}
	var names []string
	for name := range s.Extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(append(lines, names...), "\n")
}

func echoPieces(ctx context.Context, ev pagi.Event, receive pagi.Receive, send pagi.Send) error {
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
		return err
	}
	for {
		piece, is := ev.(pagi.HTTPRequest)
		if !is {
			return nil
		}
		err := send(ctx, pagi.HTTPResponseBody{Body: piece.Body, More: piece.More})
		if err != nil || !piece.More {
			return err
		}
		if ev, err = receive(ctx); err != nil {
			return err
		}
	}
}
