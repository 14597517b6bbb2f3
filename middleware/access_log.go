package middleware

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/accessline"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// AccessLog writes a line for each request that comes through it: for a mount that has a log of its
// own. The log of a whole site is the server's, which also has the requests that the server answers
// itself.
//
// The line is written when the application has returned. Bytes are those of the body that the
// application has sent, before middleware further out compresses it.
type AccessLog struct {
	// Format is common, combined, clf, tiny, json, or a format of atoms as server/accesslog has them;
	// "" means combined.
	Format string `yaml:"format"`
	// File is the name of the log's file; "" means standard error. If another program moves the file
	// away, a new one is begun within a second.
	File string `yaml:"file" path:"yes"`
	// Output gets the lines in place of File, one for each Write. Writes are not concurrent.
	Output io.Writer `yaml:"-"`
	// Logger gets a record if the file cannot be written; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

func init() { parts.Middleware[AccessLog]("access_log") }

// Check reports an unknown format and a File whose directory is not there.
func (m AccessLog) Check() error {
	var errs []error
	if _, err := m.format(); err != nil {
		errs = append(errs, pagi.BadOption("format", "%w", err))
	}
	if m.File != "" {
		if info, err := os.Stat(filepath.Dir(m.File)); err != nil {
			errs = append(errs, pagi.BadOption("file", "%w", err))
		} else if !info.IsDir() {
			errs = append(errs, pagi.BadOption("file", "%s is not a directory", filepath.Dir(m.File)))
		}
	}
	return errors.Join(errs...)
}

func (m AccessLog) format() (accessline.Format, error) {
	return accessline.ParseFormat(or(m.Format, "combined"))
}

// Wrap puts m around next.
func (m AccessLog) Wrap(next pagi.App) pagi.App {
	format, _ := m.format() // Check reports the error
	log := &lineLog{output: m.Output, logger: logger(m.Logger)}
	switch {
	case m.Output != nil:
	case m.File != "":
		log.output = &movedFile{name: m.File}
	default:
		log.output = os.Stderr
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		r := &loggedRequest{scope: scope, begin: time.Now()}
		err := next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
			err := send(ctx, ev)
			if err == nil {
				r.sent(ev)
			}
			return err
		})
		log.write(r.line(ctx, format, err))
		return err
	})
}

// lineLog writes lines one after the other.
type lineLog struct {
	mu     sync.Mutex
	output io.Writer
	failed time.Time // when a failure was last told of
	logger *slog.Logger
}

func (l *lineLog) write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.output.Write(line); err != nil && time.Since(l.failed) > time.Minute {
		l.failed = time.Now()
		l.logger.Error("access log cannot be written", "error", err)
	}
}

// movedFile is a file that is opened again when its name leads to another one.
type movedFile struct {
	name    string
	file    *os.File
	checked time.Time
}

// Write appends p to the file. The garbage collector closes the last file.
func (f *movedFile) Write(p []byte) (int, error) {
	if now := time.Now(); f.file == nil || now.Sub(f.checked) > time.Second {
		f.checked = now
		if err := f.reopen(); err != nil {
			return 0, err
		}
	}
	return f.file.Write(p)
}

func (f *movedFile) reopen() error {
	if f.file != nil {
		there, err := os.Stat(f.name)
		open, openErr := f.file.Stat()
		if err == nil && openErr == nil && os.SameFile(there, open) {
			return nil
		}
	}
	file, err := os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	old := f.file
	f.file = file
	if old != nil {
		return old.Close()
	}
	return nil
}

// loggedRequest is what the line tells about a request.
type loggedRequest struct {
	scope    *pagi.Scope
	begin    time.Time
	duration time.Duration
	reason   string

	mu      sync.Mutex // the application may send by several goroutines
	status  int
	headers pagi.Headers
	bytes   int64
	closed  pagi.WebSocketClose
}

// sent notes an event that was sent.
func (r *loggedRequest) sent(ev pagi.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if status, headers, is := reply.Start(ev); is {
		r.status, r.headers = status, headers.Clone()
		return
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseBody:
		r.bytes += sizeOf(e)
	case pagi.SSEHTTPResponseBody:
		r.bytes += int64(len(e.Body))
	case pagi.WebSocketHTTPResponseBody:
		r.bytes += int64(len(e.Body))
	case pagi.SSESend:
		r.bytes += int64(len(e.Data))
	case pagi.WebSocketSend:
		r.bytes += int64(len(e.Text) + len(e.Bytes))
	case pagi.WebSocketClose:
		if r.status == 0 {
			r.status = http.StatusForbidden // the handshake is refused
		}
		r.closed = e
	}
}

// sizeOf returns the number of bytes of a piece of a body; 0 if a file's size is not known.
func sizeOf(e pagi.HTTPResponseBody) int64 {
	if e.File == "" && e.FH == nil {
		return int64(len(e.Body))
	}
	if e.Length == 0 {
		return 0
	}
	rest := max(0, fileSize(e)-e.Offset)
	if e.Length == pagi.ToEnd {
		return rest
	}
	return min(rest, e.Length)
}

// fileSize returns the size of the file of a body; 0 if it is not known.
func fileSize(e pagi.HTTPResponseBody) int64 {
	var info os.FileInfo
	var err error
	if file, is := e.FH.(*os.File); is {
		info, err = file.Stat()
	} else if e.File != "" {
		info, err = os.Stat(e.File)
	}
	if err != nil || info == nil {
		return 0
	}
	return info.Size()
}

// line returns the line when the application has returned. A goroutine that it has left behind may still
// send.
func (r *loggedRequest) line(ctx context.Context, format accessline.Format, err error) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.duration = time.Since(r.begin)
	r.returned(ctx, err)
	return format.Append(nil, r)
}

// returned notes the status with which the server will answer for an application that has failed.
func (r *loggedRequest) returned(ctx context.Context, err error) {
	if gone, is := context.Cause(ctx).(*pagi.DisconnectError); is {
		r.reason = gone.Reason
	}
	if r.status != 0 || ctx.Err() != nil {
		return
	}
	r.status = http.StatusInternalServerError
	var asked *pagi.StatusError
	if errors.As(err, &asked) {
		r.status = asked.Status
	}
}

func (r *loggedRequest) Client() string { return r.scope.Client.Host }

func (r *loggedRequest) Peer() string {
	if peer, is := r.scope.Value(scopekey.OriginalClient).(pagi.Addr); is {
		return peer.Host
	}
	return r.scope.Client.Host
}

func (r *loggedRequest) User() string {
	return r.scope.Notes.User()
}

func (r *loggedRequest) Local() (host, port string) {
	if r.scope.Server.Port == 0 {
		return "", ""
	}
	return r.scope.Server.Host, strconv.Itoa(r.scope.Server.Port)
}

func (r *loggedRequest) Method() string {
	return or(r.scope.Method, http.MethodGet) // of a WebSocket
}

func (r *loggedRequest) Target() string                    { return r.scope.RequestURI() }
func (r *loggedRequest) Protocol() string                  { return "HTTP/" + r.scope.HTTPVersion }
func (r *loggedRequest) Header(name string) string         { return r.scope.Headers.Get(name) }
func (r *loggedRequest) ResponseHeader(name string) string { return r.headers.Get(name) }
func (r *loggedRequest) Status() int                       { return r.status }
func (r *loggedRequest) Bytes() int64                      { return r.bytes }
func (r *loggedRequest) Begin() time.Time                  { return r.begin }
func (r *loggedRequest) Duration() time.Duration           { return r.duration }
func (r *loggedRequest) Reason() string                    { return r.reason }
func (r *loggedRequest) CloseCode() int                    { return r.closed.Code }
func (r *loggedRequest) CloseReason() string               { return r.closed.Reason }

func (r *loggedRequest) TraceID() string {
	if t := r.scope.Trace(); t != nil {
		return t.TraceID()
	}
	return ""
}
