package lint

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Checker checks one call of an application. All methods are safe for concurrent use.
type Checker struct {
	// Lenient counts an event as sent, although it breaks a rule, if a server would send it.
	Lenient bool

	scope  *pagi.Scope
	before pagi.Scope // the scope as it was

	mu        sync.Mutex
	stage     pagi.Stage
	length    Length
	receiving bool
	returned  bool
}

// New returns a Checker for a call with scope.
func New(scope *pagi.Scope) *Checker {
	c := &Checker{scope: scope, before: *scope}
	c.before.Headers = scope.Headers.Clone()
	return c
}

// Scope reports what is wrong with the scope. Its maker has to correct it.
func (c *Checker) Scope() *Violation {
	s := c.scope
	switch s.Type {
	case pagi.TypeLifespan:
		return nil
	case pagi.TypeHTTP, pagi.TypeSSE:
		if s.Method == "" || s.Method != strings.ToUpper(s.Method) {
			return broken(ScopeFields, "the scope's method must be in upper case, is %q", s.Method)
		}
		if s.Scheme != "http" && s.Scheme != "https" {
			return broken(ScopeFields, "the scope's scheme must be http or https, is %q", s.Scheme)
		}
	case pagi.TypeWebSocket:
		if s.Scheme != "ws" && s.Scheme != "wss" {
			return broken(ScopeFields, "the scope's scheme must be ws or wss, is %q", s.Scheme)
		}
	default:
		return broken(ScopeType, "the scope's type %q is not known", s.Type)
	}
	if s.RootPath != "" && (s.RootPath[0] != '/' || strings.HasSuffix(s.RootPath, "/")) {
		return broken(ScopeFields, "the scope's root path must begin with a slash and not end with one, is %q", s.RootPath)
	}
	for _, h := range s.Headers {
		if h.Name != strings.ToLower(h.Name) {
			return broken(ScopeHeaders, "the scope's headers contain the name %q, which must be in lower case", h.Name)
		}
	}
	return nil
}

// Send reports the first rule that an event to the client breaks. Otherwise the event counts as sent.
func (c *Checker) Send(ev pagi.Event) *Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.returned {
		return broken(AfterReturn, "the application sends %s after it has returned", typeOf(ev))
	}
	if err := pagi.Validate(c.scope.Type, ev); err != nil {
		var bad *pagi.EventError
		if errors.As(err, &bad) && bad.Field != "type" && bad.Field != "" || ev == nil {
			return brokenBy(EventField, ev, err)
		}
		return brokenBy(EventKind, ev, err)
	}
	if err := pagi.CheckOrder(c.stage, ev); err != nil {
		return brokenBy(EventOrder, ev, err)
	}
	v := c.checkFurther(ev)
	if v == nil || c.Lenient {
		c.stage = next(c.stage, ev)
	}
	return v
}

// checkFurther checks the rules that a server need not know.
func (c *Checker) checkFurther(ev pagi.Event) *Violation {
	if err := CheckNames(ev); err != nil {
		return brokenBy(HeaderCase, ev, err)
	}
	if err := c.checkOffered(ev); err != nil {
		return brokenBy(EventOffered, ev, err)
	}
	return c.count(ev)
}

func typeOf(ev pagi.Event) string {
	if ev == nil {
		return "nothing"
	}
	return ev.EventType()
}

func (c *Checker) checkOffered(ev pagi.Event) error {
	extension := ""
	switch ev.(type) {
	case pagi.HTTPFullFlush:
		extension = pagi.ExtFullFlush
	case pagi.HTTPResponseInformational:
		extension = pagi.ExtInformational
	case pagi.WebSocketHTTPResponseStart:
		extension = pagi.ExtDenialResponse
	}
	return Offered(c.scope, ev, extension)
}

// Offered reports an event of an extension that the scope does not offer; "" stands for none.
func Offered(scope *pagi.Scope, ev pagi.Event, extension string) error {
	if extension == "" || scope.HasExtension(extension) {
		return nil
	}
	return &pagi.EventError{Type: ev.EventType(), Problem: "the scope does not offer the extension " + extension}
}

// count compares the body with its length.
func (c *Checker) count(ev pagi.Event) *Violation {
	head := c.scope.Method == "HEAD"
	var err error
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		err = c.length.Begin(ev, e.Status, e.Headers)
	case pagi.SSEHTTPResponseStart:
		err = c.length.Begin(ev, e.Status, e.Headers)
	case pagi.WebSocketHTTPResponseStart:
		err = c.length.Begin(ev, e.Status, e.Headers)
	case pagi.HTTPResponseBody:
		if e.File != "" || e.FH != nil {
			return nil // the server counts
		}
		err = c.length.Body(int64(len(e.Body)), !e.More, head)
	case pagi.SSEHTTPResponseBody:
		err = c.length.Body(int64(len(e.Body)), !e.More, head)
	case pagi.WebSocketHTTPResponseBody:
		err = c.length.Body(int64(len(e.Body)), !e.More, false)
	}
	if err == nil {
		return nil
	}
	if c.length.noBody {
		return brokenBy(BodyForbidden, ev, err)
	}
	return brokenBy(BodyLength, ev, err)
}

// next returns the stage after an event that may come at stage.
func next(stage pagi.Stage, ev pagi.Event) pagi.Stage {
	denied := func(more bool) pagi.Stage {
		if more {
			return pagi.StageDenied
		}
		return pagi.StageDeniedComplete
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		if e.Trailers {
			return pagi.StageAnnounced
		}
		return pagi.StageOpen
	case pagi.HTTPResponseBody:
		switch {
		case e.More && e.File == "" && e.FH == nil: // a file completes the body
			return stage
		case stage == pagi.StageAnnounced:
			return pagi.StageEnded
		}
		return pagi.StageComplete
	case pagi.HTTPResponseTrailers, pagi.SSEClose, pagi.WebSocketClose, pagi.LifespanShutdownComplete, pagi.LifespanShutdownFailed:
		return pagi.StageComplete
	case pagi.SSEStart, pagi.LifespanStartupComplete, pagi.LifespanStartupFailed:
		return pagi.StageOpen
	case pagi.WebSocketAccept:
		if stage == pagi.StageBegin {
			return pagi.StageOpen
		}
	case pagi.SSEHTTPResponseStart:
		return pagi.StageDenied
	case pagi.WebSocketHTTPResponseStart:
		if stage == pagi.StageBegin {
			return pagi.StageDenied
		}
	case pagi.SSEHTTPResponseBody:
		return denied(e.More)
	case pagi.WebSocketHTTPResponseBody:
		if stage == pagi.StageDenied {
			return denied(e.More)
		}
	}
	return stage
}

// Receive reports an application that receives when it must not. Otherwise the caller must call
// Received when it has an event.
func (c *Checker) Receive() *Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.returned:
		return broken(AfterReturn, "the application receives after it has returned")
	case c.receiving:
		return broken(ReceiveTwice, "the application receives twice at the same time")
	}
	c.receiving = true
	return nil
}

// Received says that a Receive has returned.
func (c *Checker) Received() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiving = false
}

// Returned reports what is wrong when the application has returned with err. gone says that the client
// has left.
func (c *Checker) Returned(err error, gone bool) *Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.returned = true
	if c.isChanged() {
		return broken(ScopeChanged, "the application has changed the scope that it was given; it must change a copy (Scope.Clone, Scope.With)")
	}
	if err != nil || gone || c.scope.Type != pagi.TypeHTTP {
		return nil
	}
	switch c.stage {
	case pagi.StageBegin:
		return broken(Incomplete, "the application has returned without a response")
	case pagi.StageOpen, pagi.StageAnnounced:
		return broken(Incomplete, "the application has returned before the body was complete; the last http.response.body has no More")
	case pagi.StageEnded:
		return broken(Incomplete, "the application has returned without the trailers that it has announced")
	}
	return nil
}

func (c *Checker) isChanged() bool {
	a, b := &c.before, c.scope
	return a.Type != b.Type || a.Method != b.Method || a.Scheme != b.Scheme || a.Path != b.Path || a.RawPath != b.RawPath || a.QueryString != b.QueryString ||
		a.RootPath != b.RootPath || a.Client != b.Client || a.Server != b.Server || !slices.Equal(a.Headers, b.Headers)
}
