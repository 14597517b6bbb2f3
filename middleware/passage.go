package middleware

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// layer is an application with a middleware around it. Layers that stand next to one another hand a request on as a
// passage, so that they share one copy of its scope and one copy of the headers of its response.
type layer struct {
	life pagi.App // gets the lifespan scope
	pass passFunc
}

// passFunc is what a middleware does with a request.
type passFunc func(ctx context.Context, p passage) error

// wrapPassage returns an application that calls pass for every scope except the lifespan scope, which
// goes to life. With a wrong option it returns lifespan.Broken.
func wrapPassage(m pagi.Checker, life pagi.App, pass passFunc) pagi.App {
	if err := m.Check(); err != nil {
		return lifespan.Broken(err)
	}
	return &layer{life, pass}
}

// Serve begins a passage.
func (l *layer) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return l.life.Serve(ctx, scope, receive, send)
	}
	return l.pass(ctx, passage{scope: scope, receive: receive, outgoing: outgoing{send: send}})
}

// onward returns what hands a passage on to next. If next is no layer, the passage ends there.
func onward(next pagi.App) passFunc {
	if l, is := next.(*layer); is {
		return l.pass
	}
	return func(ctx context.Context, p passage) error { return next.Serve(ctx, p.scope, p.receive, p.sender()) }
}

// passage is a request on its way through layers.
type passage struct {
	scope   *pagi.Scope
	receive pagi.Receive
	outgoing

	// scopeIsOwn says that a layer of this passage has made the scope, and headersAreOwn the same of its headers. The
	// next layers may then change them in place.
	scopeIsOwn, headersAreOwn bool
}

// change returns the scope for a layer that changes it. It is a copy, once in a passage.
func (p *passage) change() *pagi.Scope {
	if !p.scopeIsOwn {
		p.scope, p.scopeIsOwn = p.scope.Clone(), true
	}
	return p.scope
}

// changeHeaders returns the headers of the request for a layer that changes them. They are a copy, once in a passage.
func (p *passage) changeHeaders() *pagi.Headers {
	s := p.change()
	if !p.headersAreOwn {
		s.Headers, p.headersAreOwn = withRoom(s.Headers, roomForOthers), true
	}
	return &s.Headers
}

// keep returns the scope for a layer that looks at it again when the response comes. The next layers change a copy.
func (p *passage) keep() *pagi.Scope {
	p.scopeIsOwn, p.headersAreOwn = false, false
	return p.scope
}

// roomForOthers is how many headers more than it has a copy of the headers of a request can take.
const roomForOthers = 3

// withRoom returns a copy of headers to which room more can be added without another copy.
func withRoom(h pagi.Headers, room int) pagi.Headers {
	return append(make(pagi.Headers, 0, len(h)+room), h...)
}

// outgoing is the way of a response out of a passage. Its beginning goes through the edits, the innermost first, and
// then to send. Everything else goes to send.
type outgoing struct {
	send  pagi.Send
	edits *edits // nil: none
	adds  int    // how many headers they add at most, or so
}

// edits are what the layers of a passage change of the beginning of a response. They do not change once they are made.
// A layer that hands a passage on several times calls keep before each.
type edits struct {
	edit
	outer *edits // nil: none
}

// edit is a change of the beginning of a response.
type edit struct {
	// change is the same for all requests. text is what it needs to know of this one.
	change func(b beginning, text string) beginning
	text   string
}

// edit adds an edit inside the others, which adds so many headers at most, or so.
func (o *outgoing) edit(e edit, adds int) {
	o.edits = &edits{e, o.edits}
	o.adds += adds
}

// editHeaders adds an edit of the headers that is made for this request. It costs more than one that is not.
func (o *outgoing) editHeaders(change func(*pagi.Headers)) {
	o.edit(edit{change: func(b beginning, _ string) beginning {
		b.own()
		change(&b.headers)
		return b
	}}, 1)
}

// sender returns the way out for code that is no layer.
func (o outgoing) sender() pagi.Send {
	if o.edits == nil {
		return o.send
	}
	return o.event
}

// event sends an event. Headers in it stay as they are: what is changed is a copy.
func (o outgoing) event(ctx context.Context, ev pagi.Event) error {
	if o.edits == nil {
		return o.send(ctx, ev)
	}
	if start, is := ev.(pagi.HTTPResponseStart); is { // nearly always
		b := o.edited(beginning{status: start.Status, headers: start.Headers, isResponse: true})
		if b.isOwn {
			start.Headers = b.headers
			ev = start
		}
		return o.send(ctx, ev)
	}
	ev, _, _ = reply.EditStart(ev, func(h pagi.Headers) (pagi.Headers, error) { // no error
		status, _, _ := reply.Start(ev)
		return o.edited(beginning{status: status, headers: h}).headers, nil
	})
	return o.send(ctx, ev)
}

// begin sends the beginning of a response whose headers belong to the caller, which gives them away.
func (o outgoing) begin(ctx context.Context, start pagi.HTTPResponseStart) error {
	start.Headers = o.edited(beginning{status: start.Status, headers: start.Headers, isResponse: true, isOwn: true}).headers
	return o.send(ctx, start)
}

func (o outgoing) edited(b beginning) beginning {
	b.room = o.adds
	for e := o.edits; e != nil; e = e.outer {
		b = e.change(b, e.text)
	}
	return b
}

// beginning is what a response begins with, or the answer to the handshake of a WebSocket.
type beginning struct {
	status     int
	headers    pagi.Headers
	room       int  // how many headers are going to be added, or so
	isResponse bool // that of an http scope
	isOwn      bool // headers may be changed
}

// own makes headers a copy that may be changed, unless they are one.
func (b *beginning) own() {
	if !b.isOwn {
		b.headers, b.isOwn = withRoom(b.headers, b.room), true
	}
}
