package differential_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// test is a case: what a client sends, and the script that the application follows.
type test struct {
	// name is a sentence, and unique.
	name string
	// script is the application's script, see testdata/script.pl. "" has it answer "hello".
	script string
	// method is GET by default, with a body POST. target is "/" by default, version "1.1".
	method, target, version string
	// headers are further lines, separated by newlines. Without a Host there, "example.test" is sent.
	headers string
	// body is sent behind the head, with a Content-Length unless the headers have one or a Transfer-Encoding. chunks
	// are sent as chunks.
	body   string
	chunks []string
	// raw is the whole head instead.
	raw string
	// repeat sends the request so often, each behind the answer to the one before; pipelined all at once.
	repeat    int
	pipelined bool
	// steps are what the client does behind the head and the body, see step.
	steps []string
	// framing compares how the body is delimited, and whether the connection stays.
	framing bool
	// websocket makes it a handshake, events a request for an event stream.
	websocket, events bool
	// racy leaves out what the application sees, where that depends on the moment.
	racy bool
}

// head returns the bytes of the request.
func (c *test) request(number string) string {
	if c.raw != "" {
		script := ""
		if c.script != "" {
			script = "\r\nX-Script: " + base64.StdEncoding.EncodeToString([]byte(c.script))
		}
		return strings.ReplaceAll(c.raw, "CASE", "X-Case: "+number+script)
	}
	method, body := c.method, c.body
	lines := []string{}
	if c.headers != "" {
		lines = strings.Split(c.headers, "\n")
	}
	has := func(name string) bool {
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(strings.ToLower(l), name+":") })
	}
	if !has("host") {
		lines = append([]string{"Host: example.test"}, lines...)
	}
	for _, chunk := range c.chunks {
		body += fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk)
	}
	switch {
	case c.chunks != nil:
		lines = append(lines, "Transfer-Encoding: chunked")
		if c.chunks[len(c.chunks)-1] == "" {
			body = strings.TrimSuffix(body, "\r\n") + "\r\n"
		}
	case c.body != "" && !has("content-length") && !has("transfer-encoding"):
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	if c.websocket {
		lines = append(lines, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
	}
	if c.events {
		lines = append(lines, "Accept: text/event-stream")
	}
	if c.script != "" {
		lines = append(lines, "X-Script: "+base64.StdEncoding.EncodeToString([]byte(c.script)))
	}
	if method == "" {
		method = "GET"
		if c.body != "" || c.chunks != nil {
			method = "POST"
		}
	}
	target, version := c.target, c.version
	if target == "" {
		target = "/"
	}
	if version == "" {
		version = "1.1"
	}
	return fmt.Sprintf("%s %s HTTP/%s\r\nX-Case: %s\r\n%s\r\n\r\n%s", method, target, version, number, strings.Join(lines, "\r\n"), body)
}

// client is a connection to a server, with all that has come from there.
type client struct {
	conn     net.Conn
	got      bytes.Buffer
	ended    bool // the server has closed the connection
	patience time.Duration
	left     bool
	traced   func(text string) error // waits until the application has logged a text
}

func dial(address string, patience time.Duration) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, patience: patience}, nil
}

// errHangs says that nothing has come in time.
var errHangs = errors.New("nothing more comes")

// until reads until done or the end of the connection. Without anything new for patience it returns errHangs.
func (c *client) until(done func(got []byte) bool) error {
	buf := make([]byte, 64<<10)
	for !done(c.got.Bytes()) && !c.ended {
		if err := c.conn.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return err
		}
		n, err := c.conn.Read(buf)
		c.got.Write(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errHangs
		case err != nil:
			c.ended = true // a reset says that something was not read
		}
	}
	return nil
}

// converse puts a case to the server, and returns an error where it is the client's fault. errHangs is the server's.
func (c *client) converse(t *test, number string) error {
	request := t.request(number)
	times := max(t.repeat, 1)
	if t.pipelined {
		request, times = strings.Repeat(request, times), 1
	}
	for i := range times {
		// The server may have answered and closed before it has read all. What it has answered is read below.
		_, _ = io.WriteString(c.conn, request)
		if i < times-1 {
			if err := c.until(func(got []byte) bool { n, complete := answers(t, got); return complete && n > i }); err != nil {
				return err
			}
		}
	}
	for _, s := range t.steps {
		if err := c.step(s); err != nil {
			return fmt.Errorf("step %q: %w", s, err)
		}
	}
	if c.left {
		return nil
	}
	n := max(t.repeat, 1)
	return c.until(func(got []byte) bool { m, complete := answers(t, got); return complete && m >= n })
}

// step does one of:
//
//	say TEXT            sends the text; \r and \n stand for the characters
//	head                waits until the head of an answer has come
//	hear TEXT           waits until the text has come behind the first head
//	traced TEXT         waits until the application has logged the text
//	text TEXT, binary HEX, ping TEXT, pong TEXT, close CODE REASON
//	                    sends a frame of a WebSocket
//	frame HEX TEXT      sends a frame with this first byte, unmasked with "unmasked HEX TEXT"
//	times N STEP        does a step so often
//	end                 closes the direction to the server
//	leave, reset        closes the connection
func (c *client) step(s string) error {
	verb, rest, _ := strings.Cut(s, " ")
	send := func(first byte, payload []byte) error {
		_, _ = c.conn.Write(frame(first, payload, true)) // as for the request
		return nil
	}
	switch verb {
	case "say":
		_, _ = io.WriteString(c.conn, strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(rest))
		return nil
	case "head", "hear":
		has := func(got []byte) bool {
			_, behind, ok := bytes.Cut(got, []byte("\r\n\r\n"))
			return ok && bytes.Contains(behind, []byte(rest))
		}
		return c.until(has) // at the end of the connection the transcript shows what has not come
	case "traced":
		return c.traced(rest)
	case "text":
		return send(0x81, []byte(rest))
	case "large":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		return send(0x82, bytes.Repeat([]byte("x"), n))
	case "binary":
		payload, err := hex.DecodeString(rest)
		if err != nil {
			return err
		}
		return send(0x82, payload)
	case "ping":
		return send(0x89, []byte(rest))
	case "pong":
		return send(0x8a, []byte(rest))
	case "close":
		code, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(code)
		if code == "" {
			return send(0x88, nil)
		}
		if err != nil {
			return err
		}
		return send(0x88, append([]byte{byte(n >> 8), byte(n)}, reason...))
	case "frame", "unmasked":
		first, payload, _ := strings.Cut(rest, " ")
		b, err := hex.DecodeString(first)
		if err != nil {
			return err
		}
		_, _ = c.conn.Write(frame(b[0], []byte(payload), verb == "frame"))
		return nil
	case "times":
		count, what, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		for range n {
			if err := c.step(what); err != nil {
				return err
			}
		}
		return nil
	case "end":
		return c.conn.(*net.TCPConn).CloseWrite()
	case "leave":
		c.left = true
		return c.conn.Close()
	case "reset":
		c.left = true
		if err := c.conn.(*net.TCPConn).SetLinger(0); err != nil {
			return err
		}
		return c.conn.Close()
	}
	return errors.New("no such step")
}

func frame(first byte, payload []byte, masked bool) []byte {
	out := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		out = append(out, mask|byte(n))
	case n < 65536:
		out = append(out, mask|126, byte(n>>8), byte(n))
	default:
		out = append(out, mask|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if !masked {
		return append(out, payload...)
	}
	key := []byte{1, 2, 3, 4}
	out = append(out, key...)
	for i, b := range payload {
		out = append(out, b^key[i%4])
	}
	return out
}

// answers counts the final answers in what has come, and reports whether the last one is complete. A WebSocket is
// complete at the end of the connection alone.
func answers(t *test, got []byte) (n int, complete bool) {
	r := bufio.NewReaderSize(bytes.NewReader(got), 64<<10)
	for {
		if start, err := r.Peek(5); err != nil && len(start) == 0 {
			return n, n > 0
		} else if err == nil && string(start) != "HTTP/" {
			return n + 1, true // no server that is sound sends this
		}
		res, err := http.ReadResponse(r, &http.Request{Method: t.methodOf()})
		if err != nil {
			return n, false
		}
		if res.StatusCode == http.StatusSwitchingProtocols {
			return 1, false
		}
		if res.StatusCode < 200 {
			continue
		}
		hasBody := t.methodOf() != http.MethodHead && res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusNotModified
		if hasBody && res.ContentLength < 0 && len(res.TransferEncoding) == 0 {
			return n, false // until the end of the connection
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return n, false
		}
		n++
	}
}

func (c *test) methodOf() string {
	if c.raw != "" {
		method, _, _ := strings.Cut(c.raw, " ")
		return method
	}
	return c.method
}

// transcript describes what has come, a line for each fact. Lines that begin with "~" are not compared with other
// servers.
func (c *client) transcript(t *test) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	r := bufio.NewReaderSize(bytes.NewReader(c.got.Bytes()), 64<<10)
	says := bytes.Contains(bytes.ToLower(c.got.Bytes()), []byte("\r\nconnection: close\r\n"))
	for {
		if _, err := r.Peek(1); err != nil {
			break
		}
		if start, _ := r.Peek(5); string(start) != "HTTP/" {
			rest, _ := io.ReadAll(r) // of a buffer
			say("bytes that are no response: %s", shown(string(rest)))
			break
		}
		res, err := http.ReadResponse(r, &http.Request{Method: t.methodOf()})
		if err != nil {
			say("a malformed response: %s", strings.SplitN(c.got.String(), "\r\n", 2)[0])
			break
		}
		if says && res.Close {
			res.Header.Set("Connection", "close") // package http has taken it away
		}
		say("status %d", res.StatusCode)
		if res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
			lines = append(lines, headers(res, t.framing)...)
			continue
		}
		lines = append(lines, headers(res, t.framing || t.websocket && res.StatusCode == http.StatusSwitchingProtocols)...)
		if res.StatusCode == http.StatusSwitchingProtocols {
			lines = append(lines, frames(r)...)
			break
		}
		body, err := io.ReadAll(res.Body)
		if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
			lines = append(lines, events(string(body))...)
		} else {
			lines = append(lines, content("body ", string(body))...)
		}
		for _, name := range slices.Sorted(mapKeys(res.Trailer)) {
			say("trailer %s: %s", strings.ToLower(name), strings.Join(res.Trailer[name], ", "))
		}
		if err != nil && !c.left {
			say("the body is cut")
		}
	}
	switch {
	case c.left:
		say("the client leaves")
	case c.ended && (t.websocket || t.framing || c.got.Len() == 0):
		say("the connection is closed")
	}
	return lines
}

func mapKeys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

// perMessage are headers that differ with each answer or server.
var perMessage = []string{"date", "server"}

func headers(res *http.Response, framing bool) (lines []string) {
	for name, values := range res.Header {
		name = strings.ToLower(name)
		if slices.Contains(perMessage, name) {
			continue
		}
		mark := ""
		if !framing && (name == "content-length" || name == "connection" || name == "transfer-encoding" || name == "keep-alive") {
			mark = "~ "
		}
		// Some servers join equal headers.
		lines = append(lines, fmt.Sprintf("%sheader %s: %s", mark, name, strings.Join(values, ", ")))
	}
	if len(res.TransferEncoding) > 0 {
		mark := "~ "
		if framing {
			mark = ""
		}
		lines = append(lines, mark+"header transfer-encoding: "+strings.Join(res.TransferEncoding, ", "))
	}
	slices.Sort(lines)
	return lines
}

// events are those of an event stream, and its comments.
func events(stream string) (lines []string) {
	known := []string{"", "event", "id", "retry", "data"}
	for _, block := range strings.SplitAfter(stream, "\n\n") {
		if block == "" {
			continue
		}
		fields := map[string][]string{}
		for _, line := range strings.Split(strings.TrimRight(block, "\n"), "\n") {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = append(fields[name], strings.TrimPrefix(value, " "))
		}
		var parts []string
		for _, name := range known {
			if values, ok := fields[name]; ok {
				label := name
				if name == "" {
					label = "comment"
				}
				parts = append(parts, label+" "+shown(strings.Join(values, "\n")))
			}
		}
		if data := fields["data"]; len(data) == 1 && strings.HasPrefix(data[0], "{") {
			lines = append(lines, content("data ", data[0])...)
			continue
		}
		for name := range fields {
			if !slices.Contains(known, name) {
				parts = append(parts, "unknown field "+shown(name))
			}
		}
		if !strings.HasSuffix(block, "\n\n") {
			parts = append(parts, "without an end")
		}
		slices.Sort(parts)
		lines = append(lines, "event: "+strings.Join(parts, ", "))
	}
	return lines
}

// frames are those of a WebSocket.
func frames(r *bufio.Reader) (lines []string) {
	names := map[byte]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
	message := "" // of fragments
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if !errors.Is(err, io.EOF) {
				lines = append(lines, "a frame is cut")
			}
			return lines
		}
		size := uint64(head[1] & 0x7f)
		if more := map[uint64]int{126: 2, 127: 8}[size]; more > 0 {
			size = 0
			for range more {
				b, err := r.ReadByte()
				if err != nil {
					return append(lines, "a frame is cut")
				}
				size = size<<8 | uint64(b)
			}
		}
		var payload bytes.Buffer
		if n, err := io.CopyN(&payload, r, int64(size)); err != nil || n < int64(size) {
			return append(lines, "a frame is cut")
		}
		name := names[head[0]&0x0f]
		switch {
		case head[1]&0x80 != 0:
			name += " (masked)"
		case name == "close" && payload.Len() >= 2:
			b := payload.Bytes()
			code, reason := int(b[0])<<8|int(b[1]), shown(string(b[2:]))
			if code == 1002 || code == 1007 { // the server's own words
				lines = append(lines, fmt.Sprintf("frame close %d", code), "~ reason "+reason)
				continue
			}
			lines = append(lines, fmt.Sprintf("frame close %d %s", code, reason))
			continue
		case head[0]&0x08 == 0 && (head[0]&0x80 == 0 || name == "continuation"):
			// How a message is divided into frames does not matter.
			if head[0]&0x80 == 0 {
				if name != "continuation" {
					message = name + " "
				}
				message += payload.String()
				continue
			}
			kind, text, _ := strings.Cut(message+payload.String(), " ")
			lines = append(lines, "frame "+kind+" "+shown(text))
			continue
		}
		if line := "frame ping " + shown(payload.String()); name == "ping" && slices.Contains(lines, line) {
			continue // a keepalive sends as many as there is time for
		}
		lines = append(lines, content("frame "+name+" ", payload.String())...)
	}
}

// content is a text after a label, on a line. An object in JSON has a line for each name.
func content(label, text string) (lines []string) {
	var object map[string]json.RawMessage
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &object) != nil {
		return []string{label + shown(text)}
	}
	for name, value := range object {
		lines = append(lines, label+name+": "+string(value))
	}
	slices.Sort(lines)
	return lines
}

var (
	address = regexp.MustCompile(`\(0x[0-9a-f]+\)`) // of a reference in Perl
	date    = regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`)
)

// shown is a text in quotes; of a long one its length and checksum.
func shown(text string) string {
	text = date.ReplaceAllString(address.ReplaceAllString(text, "(0x...)"), "(a date)")
	if len(text) > 1000 {
		return fmt.Sprintf("(%d bytes, %x)", len(text), sha256.Sum256([]byte(text)))[:40] + ")"
	}
	return strconv.QuoteToASCII(text)
}
