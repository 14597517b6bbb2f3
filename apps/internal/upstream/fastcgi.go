package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/apps/internal/fastcgi"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// stdinPiece is how much of a request body goes into a record.
const stdinPiece = 32 << 10

// fastCGI is the part of a connection that speaks FastCGI. It is a net.Conn from which the standard
// output of the application is read. It has one request: a process that keeps a connection serves no
// other one meanwhile, and libfcgi ends a kept connection if the application has not read all of a
// request.
type fastCGI struct {
	net.Conn
	c        *directConn
	in       *fastcgi.Reader
	stdin    *stdin // the body on its way; nil: the request has none
	complain func(text string)
	running  bool // it has a request
}

func newFastCGI(c *directConn) *fastCGI {
	return &fastCGI{Conn: c.raw, c: c, in: fastcgi.NewReader(answers{c})}
}

// answers reads what an application sends, of all kinds of records, and notes that something has come.
type answers struct{ c *directConn }

// Read implements io.Reader.
func (a answers) Read(p []byte) (int, error) {
	n, err := a.c.raw.Read(p)
	if n > 0 {
		a.c.got = true
	}
	return n, err
}

// Read implements net.Conn.
func (f *fastCGI) Read(p []byte) (int, error) { return f.in.Read(p) }

// ask sends a request and reads the head of the response. The body follows on a goroutine of its
// own, which finish and abort end.
func (f *fastCGI) ask(r *Request) (*Response, error) {
	c := f.c
	f.complain, f.running = r.Complain, true
	out := fastcgi.AppendParams(fastcgi.AppendBegin(c.out[:0]), r.Params)
	if r.Body == nil {
		out = fastcgi.AppendStdinEnd(out)
	}
	c.out = out
	if _, err := c.raw.Write(out); err != nil {
		return nil, err
	}
	if r.Body != nil {
		f.stdin = &stdin{c: c, body: r.Body, limit: r.Limit, done: make(chan struct{})}
		go f.stdin.run()
	}
	head, err := c.readHead(false)
	if err != nil {
		return nil, err
	}
	return parseCGIHead(head, r.Method)
}

// finish ends a request that the application has ended.
func (f *fastCGI) finish() {
	f.running = false
	f.tell()
	f.endStdin()
}

// abort ends a request whose connection is closed next.
func (f *fastCGI) abort() {
	if !f.running {
		return
	}
	f.running = false
	f.tell()
	if f.stdin == nil { // else a record may be half written
		_ = f.c.raw.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = f.c.raw.Write(fastcgi.AppendAbort(nil)) // an application that does not read that sees the end of the connection
	}
	f.endStdin()
}

// endStdin ends the writing of the body.
func (f *fastCGI) endStdin() {
	s := f.stdin
	if s == nil {
		return
	}
	f.stdin = nil
	select {
	case <-s.done:
		return
	default:
	}
	_ = f.c.raw.SetWriteDeadline(past) // a connection that is closed has woken the writer
	_ = s.body.Close()                 // which wakes its reader
	<-s.done
}

// tell passes on what the application has written to its standard error.
func (f *fastCGI) tell() {
	if text := f.in.Stderr(); text != "" && f.complain != nil {
		f.complain(text)
	}
	f.complain = nil
}

// stdin is a request body on its way to an application.
type stdin struct {
	c     *directConn
	body  io.ReadCloser
	limit time.Duration // for a piece to be taken
	done  chan struct{}
}

func (s *stdin) run() {
	defer close(s.done)
	buf := make([]byte, fastcgi.HeadSize+stdinPiece)
	for {
		s.c.guard.restRequest()
		n, err := s.body.Read(buf[fastcgi.HeadSize:])
		s.c.guard.awaitRequest(s.limit)
		if n > 0 {
			record := buf[:fastcgi.HeadSize+n]
			fastcgi.PutStdin(record)
			if _, err := s.c.raw.Write(record); err != nil {
				return // the response, or its lack, says why
			}
		}
		switch {
		case errors.Is(err, http.ErrBodyReadAfterClose): // the response has ended
			return
		case err == io.EOF:
			_, _ = s.c.raw.Write(fastcgi.AppendStdinEnd(nil)) // as above
			return
		case err != nil:
			s.c.guard.fail(err)
			return
		}
	}
}

// parseCGIHead reads the head of a response in the form of CGI (RFC 3875 section 6). The body ends
// with the standard output.
func parseCGIHead(head, method string) (*Response, error) {
	r := &Response{Status: http.StatusOK, Length: -1, body: endlessBody}
	headers, err := parseFields(head, r.room[:0])
	if err != nil {
		return nil, err
	}
	if len(headers) == 0 { // the rest of the head is no head
		return nil, errors.New("the response has no headers")
	}
	r.Headers = headers[:0]
	redirects, stated := false, false
	for _, h := range headers {
		switch h.Name {
		case "status":
			if stated {
				return nil, errors.New("the response has two headers Status")
			}
			stated = true
			if len(h.Value) < 3 || len(h.Value) > 3 && h.Value[3] != ' ' {
				return nil, fmt.Errorf("the response has the Status %q", cut(h.Value))
			}
			status, err := strconv.ParseUint(h.Value[:3], 10, 16)
			if err != nil {
				return nil, fmt.Errorf("the response has the Status %q", cut(h.Value))
			}
			r.Status = int(status)
			continue
		case "location":
			redirects = true
		case "content-length":
			if err := r.setLength(h.Value); err != nil {
				return nil, err
			}
		}
		r.Headers = append(r.Headers, pagi.Header{Name: h.Name, Value: h.Value})
	}
	if redirects && !stated {
		r.Status = http.StatusFound
	}
	if method == http.MethodHead || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified {
		r.body = noBody // the application may send one
	}
	return r, nil
}
