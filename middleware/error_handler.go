package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/errorpage"
	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// ErrorHandler answers for an application that fails before it has begun its response: one that
// returns an error, panics, or returns without a response. It also gives the responses of chosen
// statuses pages of the site's own.
//
// The status is that of the *pagi.StatusError in the error, whose Message is shown, and otherwise
// Status. The text of other errors is for the log only. After the start of a response the error goes
// on to the server, which cuts the connection.
type ErrorHandler struct {
	// Pages gives for a status, or for "4xx" and "5xx", the name of a file with the page. The page
	// replaces the body of every response of that status whose client accepts the file's media type.
	// The other headers stay.
	Pages map[string]string `yaml:"pages" path:"yes"`
	// Paths gives for a status the path of a page inside the application, below the mount. It is asked
	// for with GET. It counts where Pages has no page.
	Paths map[string]string `yaml:"paths"`
	// ContentType is that of the built-in pages: text/html, application/json or text/plain. "" means
	// the one that the client likes best.
	ContentType string `yaml:"content_type"`
	// Status is the status for errors that name none; 0 means 500.
	Status int `yaml:"status" default:"500"`
	// Development shows the error, its stack and the source it comes from. Never set it where others
	// than developers can see the site. In a site file it is true in the environment development.
	Development bool `yaml:"development"`
	// OnError is told of every failure while the client is there; nil tells no one.
	OnError func(ctx context.Context, scope *pagi.Scope, err error) `yaml:"-"`
	// Logger gets a record of every failure that ErrorHandler answers with a status of 500 or more; nil
	// means slog.Default.
	Logger *slog.Logger `yaml:"-"`
	// Environment is set by the site; "development" stands for Development.
	Environment string `yaml:"-"`
}

func init() { parts.Middleware[ErrorHandler]("error_handler") }

// maxErrorPage is the largest file that is a page, in bytes.
const maxErrorPage = 1 << 20

var (
	pageKeys     = regexp.MustCompile(`^([45]\d\d|4xx|5xx)$`)
	builtInTypes = []string{"text/html", "application/json", "text/plain"}
)

// Check reports keys that are no statuses, files that cannot be read, paths without a slash, and an
// unknown ContentType.
func (m ErrorHandler) Check() error {
	errs := []error{checkErrorStatus("status", m.Status)}
	for option, pages := range map[string]map[string]string{"pages": m.Pages, "paths": m.Paths} {
		for key, value := range pages {
			if !pageKeys.MatchString(key) {
				errs = append(errs, pagi.BadOption(option, "%q must be a status from 400 to 599, 4xx or 5xx", key))
			} else if option == "paths" {
				errs = append(errs, checkPaths(option, []string{value}))
			} else if info, err := os.Stat(value); err != nil {
				errs = append(errs, pagi.BadOption(option, "%s: %w", key, err))
			} else if !info.Mode().IsRegular() {
				errs = append(errs, pagi.BadOption(option, "%s: %s is no file", key, value))
			} else if info.Size() > maxErrorPage {
				errs = append(errs, pagi.BadOption(option, "%s: %s is larger than 1 MiB", key, value))
			}
		}
	}
	if m.ContentType != "" && !slices.Contains(builtInTypes, m.ContentType) {
		errs = append(errs, pagi.BadOption("content_type", "%q is none of %s", m.ContentType, strings.Join(builtInTypes, ", ")))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m ErrorHandler) Wrap(next pagi.App) pagi.App {
	m.Development = m.Development || m.Environment == "development"
	if m.Status == 0 {
		m.Status = http.StatusInternalServerError
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		r := &guarded{m: &m, next: next, scope: scope, send: send}
		err := serveSafely(ctx, next, scope, receive, r.event)
		return r.finish(ctx, err)
	})
}

// serveSafely turns a panic of the application into a *pagi.PanicError. http.ErrAbortHandler goes on.
func serveSafely(ctx context.Context, app pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err = &pagi.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return app.Serve(ctx, scope, receive, send)
}

// guarded is a request below an ErrorHandler.
type guarded struct {
	m     *ErrorHandler
	next  pagi.App
	scope *pagi.Scope
	send  pagi.Send

	mu sync.Mutex // guards the following; not held while an event is sent
	// begun tells that the application has begun its response. replaced is that beginning if a page
	// takes the response's place.
	begun    bool
	replaced *pagi.HTTPResponseStart
}

// event passes on what the application sends, unless a page takes its place.
func (r *guarded) event(ctx context.Context, ev pagi.Event) error {
	if r.replaces(ctx, ev) {
		return nil
	}
	return r.send(ctx, ev)
}

// replaces notes what ev does to the response, and reports whether a page takes its place.
func (r *guarded) replaces(ctx context.Context, ev pagi.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		r.begun = true
		if r.replaced == nil && r.m.hasPage(ctx, r.scope, e.Status) {
			replaced := e
			replaced.Headers = e.Headers.Clone()
			r.replaced = &replaced
		}
	case pagi.SSEStart, pagi.SSEHTTPResponseStart, pagi.WebSocketAccept, pagi.WebSocketHTTPResponseStart, pagi.WebSocketClose, pagi.SSEClose:
		r.begun = true
	}
	return r.replaced != nil
}

// finish answers for an application that has returned.
func (r *guarded) finish(ctx context.Context, err error) error {
	r.mu.Lock()
	begun, replaced := r.begun, r.replaced
	r.mu.Unlock()
	if err == nil && !begun && r.scope.Type == pagi.TypeHTTP {
		err = errors.New("it returned without a response")
	}
	if replaced != nil {
		if err != nil {
			r.report(ctx, replaced.Status, err)
		}
		return r.answer(ctx, replaced.Status, replaced.Headers, nil)
	}
	// The server answers best for what is not the application's fault.
	if err == nil || ctx.Err() != nil || errors.Is(err, pagi.ErrUnsupported) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return err
	}
	if begun { // the server logs it
		r.tell(ctx, err)
		return err
	}
	status, headers := r.m.Status, pagi.Headers(nil)
	var asked *pagi.StatusError
	if errors.As(err, &asked) && asked.Status >= 400 && asked.Status <= 599 && asked.Headers.Validate("") == nil {
		status, headers = asked.Status, asked.Headers.Clone()
	}
	r.report(ctx, status, err)
	return r.answer(ctx, status, headers, err)
}

func (r *guarded) tell(ctx context.Context, err error) {
	if r.m.OnError != nil {
		r.m.OnError(ctx, r.scope, err)
	}
}

func (r *guarded) report(ctx context.Context, status int, err error) {
	r.tell(ctx, err)
	if status < http.StatusInternalServerError {
		return
	}
	args := []any{"status", status, "method", r.scope.Method, "path", r.scope.RootPath + r.scope.Path, "client", r.scope.Client.Host, "error", err}
	args = r.scope.Notes.Append(args)
	var p *pagi.PanicError
	if errors.As(err, &p) {
		args = append(args, "stack", string(p.Stack))
	}
	logger(r.m.Logger).ErrorContext(ctx, "application failed", args...)
}

// pageOf returns the entry of a map for a status.
func pageOf(pages map[string]string, status int) string {
	text := strconv.Itoa(status)
	return or(pages[text], pages[text[:1]+"xx"])
}

// hasPage reports whether a page takes the place of responses with this status. In development the
// pages of failures stay, because they say more.
func (m *ErrorHandler) hasPage(ctx context.Context, scope *pagi.Scope, status int) bool {
	if status < 400 || status > 599 || m.Development && status >= 500 {
		return false
	}
	if file := pageOf(m.Pages, status); file != "" {
		return request.New(ctx, scope, nil).Accepts(httpfile.MediaType(file, nil, httpfile.DefaultType)) != ""
	}
	return pageOf(m.Paths, status) != ""
}

// answer sends the page for a status. headers are those of the response that it replaces, or that
// the error asks for. err is nil where there is no failure to show.
func (r *guarded) answer(ctx context.Context, status int, headers pagi.Headers, err error) error {
	headers = slices.DeleteFunc(headers, func(h pagi.Header) bool {
		return strings.HasPrefix(h.Name, "content-") && h.Name != "content-security-policy" ||
			slices.Contains([]string{"etag", "last-modified", "accept-ranges", "transfer-encoding", "trailer"}, h.Name)
	})
	if r.m.hasPage(ctx, r.scope, status) {
		if file := pageOf(r.m.Pages, status); file != "" {
			text, readErr := os.ReadFile(file)
			if readErr == nil {
				headers.Add("content-type", httpfile.WithCharset(httpfile.MediaType(file, nil, httpfile.DefaultType), "utf-8"))
				return reply.Send(ctx, r.scope, r.send, status, headers, text)
			}
			logger(r.m.Logger).ErrorContext(ctx, "error page cannot be read", "status", status, "error", readErr)
		} else if r.scope.Type == pagi.TypeHTTP {
			done, pageErr := r.askApplication(ctx, status, headers)
			if done {
				return pageErr
			}
			logger(r.m.Logger).ErrorContext(ctx, "error page cannot be made", "status", status, "path", pageOf(r.m.Paths, status), "error", pageErr)
		}
	}
	return r.builtIn(ctx, status, headers, err)
}

// askApplication lets the application make the page. done is false if it has not begun one.
func (r *guarded) askApplication(ctx context.Context, status int, headers pagi.Headers) (done bool, err error) {
	scope := r.scope.Clone()
	scope.Method, scope.Path, scope.RawPath, scope.Target, scope.QueryString = http.MethodGet, pageOf(r.m.Paths, status), "", "", ""
	scope.Headers = slices.DeleteFunc(scope.Headers.Clone(), func(h pagi.Header) bool {
		return strings.HasPrefix(h.Name, "if-") || h.Name == "range" || strings.HasPrefix(h.Name, "content-") || h.Name == "transfer-encoding"
	})
	answered := 0
	asked := false
	receive := func(ctx context.Context) (pagi.Event, error) {
		if !asked {
			asked = true
			return pagi.HTTPRequest{}, nil
		}
		<-ctx.Done() // until the client leaves
		return nil, ctx.Err()
	}
	err = serveSafely(ctx, r.next, scope, receive, func(ctx context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is && answered == 0 {
			answered = start.Status
			start.Status = status
			start.Headers = append(headers.Clone(), start.Headers...)
			ev = start
		}
		if answered != http.StatusOK {
			return nil
		}
		return r.send(ctx, ev)
	})
	if err == nil && answered != http.StatusOK {
		err = fmt.Errorf("its status is %d, not 200", answered)
	}
	return answered == http.StatusOK, err
}

// builtIn sends a built-in page.
func (r *guarded) builtIn(ctx context.Context, status int, headers pagi.Headers, err error) error {
	mediaType := r.m.ContentType
	if mediaType == "" {
		mediaType = or(request.New(ctx, r.scope, nil).Accepts(builtInTypes...), "text/plain")
	}
	message, stack := "", ""
	var asked *pagi.StatusError
	if errors.As(err, &asked) {
		message = asked.Message
	}
	var p *pagi.PanicError
	if errors.As(err, &p) {
		stack = string(p.Stack)
	}
	detailed := r.m.Development && err != nil
	if detailed {
		message = err.Error()
	}
	var body []byte
	switch {
	case mediaType == "application/json":
		all := map[string]any{"status": status, "title": http.StatusText(status)}
		if message != "" {
			all["detail"] = message
		}
		if detailed && stack != "" {
			all["stack"] = strings.Split(strings.TrimSpace(stack), "\n")
		}
		if body, err = json.Marshal(all); err != nil {
			return err
		}
		mediaType = "application/problem+json"
	case mediaType == "text/html" && detailed:
		if body, err = errorpage.Render(errorpage.Failure{Status: status, Message: message, Stack: stack, Scope: r.scope}); err != nil {
			return err
		}
	case mediaType == "text/html":
		title := html.EscapeString(strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status)))
		body = fmt.Appendf(nil, errorPageHTML, title, title, html.EscapeString(message))
	default:
		body = []byte(or(message, http.StatusText(status)) + "\n")
		if detailed && stack != "" {
			body = append(body, "\n"+stack...)
		}
	}
	if !headers.Has("cache-control") && status >= http.StatusInternalServerError {
		headers.Add("cache-control", "no-store")
	}
	headers.Add("content-type", httpfile.WithCharset(mediaType, "utf-8"))
	return reply.Send(ctx, r.scope, r.send, status, headers, body)
}

const errorPageHTML = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>
:root { color-scheme: light dark }
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 20vh auto; padding: 0 1rem }
</style>
<h1>%s</h1>
<p>%s</p>
</html>
`
