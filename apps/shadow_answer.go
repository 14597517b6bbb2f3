package apps

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Difference is a pair of answers that differ.
type Difference struct {
	// Method and Target are those of the request.
	Method, Target string
	// What differs: "status", "header NAME", "body", or "failure" if the second application has not
	// answered.
	What string
	// First and Second are the statuses; 0 for no answer.
	First, Second int
	// Err is the second application's.
	Err error
	// Kept is the beginning of the names of the files with both versions; "" if they are not kept.
	Kept string
}

// answer is a response as it was sent.
type answer struct {
	max int // bytes of the body that are kept

	status   int
	headers  pagi.Headers
	body     []byte
	size     int64 // of the whole body
	file     bool  // the body is a file, which is not looked into
	complete bool
}

// record notes an event.
func (a *answer) record(ev pagi.Event) {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		a.status, a.headers = e.Status, e.Headers.Clone()
	case pagi.HTTPResponseBody:
		isFile := e.File != "" || e.FH != nil
		a.file = a.file || isFile
		a.size += int64(len(e.Body))
		if room := a.max - len(a.body); room > 0 {
			a.body = append(a.body, e.Body[:min(room, len(e.Body))]...)
		}
		a.complete = isFile || !e.More
	}
}

// differs tells what differs between two answers; "" if nothing does.
func (s *Shadow) differs(a, b *answer) string {
	if a.status != b.status {
		return "status"
	}
	for _, name := range s.options.Headers {
		if a.headers.Joined(name) != b.headers.Joined(name) {
			return "header " + strings.ToLower(name)
		}
	}
	if a.file || b.file || s.sameBody(a, b) {
		return ""
	}
	return "body"
}

func (s *Shadow) sameBody(a, b *answer) bool {
	if len(s.ignore) == 0 && a.size == b.size && bytes.Equal(a.body, b.body) {
		return true
	}
	if sameJSON(a, b) {
		return true
	}
	return len(s.ignore) > 0 && bytes.Equal(s.without(a.body), s.without(b.body))
}

// without returns a body without the text that may differ.
func (s *Shadow) without(body []byte) []byte {
	for _, pattern := range s.ignore {
		body = pattern.ReplaceAll(body, nil)
	}
	return body
}

// sameJSON reports whether two whole bodies are the same JSON, whatever the order of members and the
// space between them.
func sameJSON(a, b *answer) bool {
	var values [2]any
	for i, x := range []*answer{a, b} {
		mediaType, _, err := mime.ParseMediaType(x.headers.Get("content-type"))
		if err != nil || mediaType != "application/json" && !strings.HasSuffix(mediaType, "+json") || x.size != int64(len(x.body)) {
			return false
		}
		decoder := json.NewDecoder(bytes.NewReader(x.body))
		decoder.UseNumber()
		if decoder.Decode(&values[i]) != nil || decoder.More() {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// keeper keeps pairs of answers as files.
type keeper struct {
	dir  string
	max  int64
	kept atomic.Int64
}

// secrets are request headers that are not kept.
var secrets = []string{"authorization", "cookie", "proxy-authorization"}

// keep writes the files, and returns the beginning of their names.
func (k *keeper) keep(scope *pagi.Scope, d *Difference, first, second *answer) (string, error) {
	if k.dir == "" || k.kept.Add(1) > k.max {
		return "", nil
	}
	base := filepath.Join(k.dir, fmt.Sprintf("%s-%06d", time.Now().UTC().Format("20060102T150405"), k.kept.Load()))
	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s\n", d.Method, d.Target)
	for _, h := range scope.Headers {
		value := h.Value
		for _, name := range secrets {
			if pagi.EqualFold(name, h.Name) {
				value = "(left out)"
			}
		}
		fmt.Fprintf(&request, "%s: %s\n", h.Name, value)
	}
	fmt.Fprintf(&request, "\ndiffers: %s\n", d.What)
	if d.Err != nil {
		fmt.Fprintf(&request, "error: %v\n", d.Err)
	}
	for name, content := range map[string][]byte{"request": request.Bytes(), "first": first.text(), "second": second.text()} {
		f, err := os.OpenFile(base+"-"+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return "", err
		}
		_, err = f.Write(content)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return "", err
		}
	}
	return base, nil
}

// text returns an answer in the form of HTTP/1.
func (a *answer) text() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%d\n", a.status)
	for _, h := range a.headers {
		fmt.Fprintf(&out, "%s: %s\n", h.Name, h.Value)
	}
	out.WriteByte('\n')
	out.Write(a.body)
	return out.Bytes()
}

// absent is the connection of a copy. Its client is not there, so only the time limit of the copy and
// the end of the program disconnect it.
type absent struct {
	lost chan struct{} // closed at an abnormal end

	mu           sync.Mutex
	started      bool
	complete     bool
	isLost       bool
	onComplete   []func()
	onDisconnect []func(reason string)
}

// newAbsent returns a connection that is lost when ctx ends before the response is complete.
func newAbsent(ctx context.Context) *absent {
	c := &absent{lost: make(chan struct{})}
	context.AfterFunc(ctx, c.lose)
	return c
}

func (c *absent) lose() {
	c.mu.Lock()
	if c.complete {
		c.mu.Unlock()
		return
	}
	c.isLost = true
	close(c.lost)
	calls := c.onDisconnect
	c.mu.Unlock()
	for _, f := range calls {
		f(pagi.ReasonServerShutdown)
	}
}

func (c *absent) Disconnected() <-chan struct{} { return c.lost }

func (c *absent) IsConnected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.isLost && !c.complete
}

// DisconnectReason returns the reason why a copy was given up.
func (c *absent) DisconnectReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isLost {
		return pagi.ReasonServerShutdown
	}
	return ""
}

// OnDisconnect calls f when the copy is given up, at once if it was.
func (c *absent) OnDisconnect(f func(reason string)) {
	c.mu.Lock()
	if !c.isLost {
		c.onDisconnect = append(c.onDisconnect, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f(pagi.ReasonServerShutdown)
}

func (c *absent) ResponseStarted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

func (c *absent) ResponseComplete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.complete
}

// OnComplete calls f when the response is complete, at once if it is.
func (c *absent) OnComplete(f func()) {
	c.mu.Lock()
	if !c.complete {
		c.onComplete = append(c.onComplete, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f()
}

// sent notes how far the response is.
func (c *absent) sent(a *answer) {
	c.mu.Lock()
	c.started = a.status != 0
	var calls []func()
	if a.complete && !c.complete && !c.isLost {
		c.complete = true
		calls, c.onComplete = c.onComplete, nil
	}
	c.mu.Unlock()
	for _, f := range calls {
		f()
	}
}
