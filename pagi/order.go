package pagi

// Stage is the progress of the events in one direction of a scope: those that the application
// sends, or those that it receives. Together with CheckOrder it is the specification's order of
// events. A row names the event that leads to the next stage.
//
//	http, sent       Begin ─ http.response.start ─> Open, or Announced with trailers
//	                 Open ─ last body ─> Complete; Announced ─ last body ─> Ended ─ trailers ─> Complete
//	sse, sent        Begin ─ sse.start ─> Open ─ sse.close ─> Complete
//	                 Begin ─ sse.http.response.start ─> Denied ─ last body ─> DeniedComplete
//	websocket, sent  Begin ─ websocket.accept ─> Open ─ websocket.close ─> Complete
//	                 Begin ─ websocket.close ─> Complete
//	                 Begin ─ websocket.http.response.start ─> Denied ─ last body ─> DeniedComplete
//	lifespan, sent   Begin ─ startup.complete, startup.failed ─> Open ─ shutdown.* ─> Complete
//	http, received   Begin ─ last http.request ─> Ended ─ http.disconnect ─> Complete
//	sse, received    Begin ─ last sse.request ─> Ended ─ sse.disconnect ─> Complete
//	websocket, rec.  Begin ─ websocket.connect ─> Open ─ websocket.disconnect ─> Complete
//	lifespan, rec.   Begin ─ lifespan.startup ─> Open ─ lifespan.shutdown ─> Complete
type Stage uint8

// The stages.
const (
	StageBegin Stage = iota
	StageOpen
	StageAnnounced // http: Open, and trailers will follow the body
	StageEnded     // http: the body has ended; for received events, the request body
	StageDenied    // an ordinary response instead of an event stream or a WebSocket
	StageDeniedComplete
	StageComplete
	stages
)

// rule gives for each stage the reason why an event must not come then; "" if it may.
type rule [stages]string

// everywhere returns a rule with the same answer at each stage except those listed.
func everywhere(problem string, except ...Stage) (r rule) {
	for stage := range r {
		r[stage] = problem
	}
	for _, stage := range except {
		r[stage] = ""
	}
	return r
}

// with returns the rule with another answer at some stages.
func (r rule) with(problem string, at ...Stage) rule {
	for _, stage := range at {
		r[stage] = problem
	}
	return r
}

const (
	responseComplete = "the response is complete"
	streamStarted    = "the event stream was started already"
	streamDenied     = "the request was answered with sse.http.response.start"
	acceptFirst      = "websocket.accept must come first"
	handshakeRefused = "the handshake was refused, only websocket.http.response.body may follow"
)

// The rules for events that are sent. They allow events that a server must ignore by the
// specification.
var (
	orderHTTPInformational = everywhere("must come before http.response.start", StageBegin).with(responseComplete, StageComplete)
	orderHTTPStart         = everywhere("the response was started already", StageBegin)
	orderHTTPBody          = everywhere("http.response.start must come first", StageOpen, StageAnnounced).
				with("the body is complete, only http.response.trailers may follow", StageEnded).with(responseComplete, StageComplete)
	orderHTTPTrailers = everywhere("http.response.start did not announce trailers", StageEnded).
				with("the body is not complete", StageAnnounced).with(responseComplete, StageComplete)

	orderSSEStart = everywhere(streamStarted, StageBegin).with(streamDenied+" already", StageDenied, StageDeniedComplete)
	// This must raise by the specification. A second sse.start may be dropped, so the two differ.
	orderSSEDecline = everywhere("the event stream has begun, the request can no longer be declined", StageBegin).
			with(streamDenied+" already", StageDenied, StageDeniedComplete)
	orderSSEEarly = everywhere("", StageBegin, StageOpen).with(streamDenied, StageDenied, StageDeniedComplete).
			with("the event stream is closed", StageComplete)
	orderSSESend  = orderSSEEarly.with("sse.start must come first", StageBegin)
	orderSSEClose = orderSSESend.with("", StageComplete)
	orderSSEBody  = everywhere("sse.http.response.start must come first, and instead of sse.start", StageDenied).
			with(responseComplete, StageDeniedComplete)

	orderWSAccept = everywhere("", StageBegin, StageComplete).with("the connection was accepted already", StageOpen).
			with(handshakeRefused, StageDenied, StageDeniedComplete)
	orderWSSend  = everywhere("").with(acceptFirst, StageBegin).with(handshakeRefused, StageDenied, StageDeniedComplete)
	orderWSClose = orderWSSend.with("", StageBegin)
	orderWSStart = everywhere("").with("the handshake was answered already", StageDenied, StageDeniedComplete)
	orderWSBody  = everywhere("").with("websocket.http.response.start must come first", StageBegin).
			with(responseComplete, StageDeniedComplete)

	orderStartup  = everywhere("startup was answered already", StageBegin)
	orderShutdown = everywhere("shutdown was answered already", StageBegin, StageOpen)
)

// The rules for events that are received.
var (
	orderRequest       = everywhere("the request's body is complete", StageBegin).with("the request has ended", StageComplete)
	orderConnect       = everywhere("the handshake has come already", StageBegin)
	orderMessage       = everywhere("", StageOpen).with("websocket.connect must come first", StageBegin).with("the connection has ended", StageComplete)
	orderLifespanBegin = everywhere("lifespan.startup has come already", StageBegin)
	orderLifespanEnd   = everywhere("", StageOpen).with("lifespan.startup must come first", StageBegin).with("lifespan.shutdown has come already", StageComplete)
	orderAny           = everywhere("")
)

// CheckOrder checks whether ev may come at stage, the stage of ev's direction. The error is an
// *EventError. CheckOrder does not check the event itself, nor whether the scope's type allows it;
// see Validate.
func CheckOrder(stage Stage, ev Event) error {
	if problem := ruleOf(ev)[stage]; problem != "" {
		return &EventError{Type: ev.EventType(), Problem: problem}
	}
	return nil
}

// After returns the stage behind ev, which is an event that a scope's application sends and that may
// come at stage; see the table at Stage.
func (stage Stage) After(ev Event) Stage {
	switch e := ev.(type) {
	case HTTPResponseStart:
		if e.Trailers {
			return StageAnnounced
		}
		return StageOpen
	case HTTPResponseBody:
		switch whole := !e.More || e.File != "" || e.FH != nil; {
		case whole && stage == StageAnnounced:
			return StageEnded
		case whole:
			return StageComplete
		}
	case SSEStart, WebSocketAccept, LifespanStartupComplete, LifespanStartupFailed:
		return StageOpen
	case SSEHTTPResponseStart, WebSocketHTTPResponseStart:
		return StageDenied
	case SSEHTTPResponseBody:
		return stage.afterDenial(e.More)
	case WebSocketHTTPResponseBody:
		return stage.afterDenial(e.More)
	case HTTPResponseTrailers, SSEClose, WebSocketClose, LifespanShutdownComplete, LifespanShutdownFailed:
		return StageComplete
	}
	return stage
}

func (stage Stage) afterDenial(more bool) Stage {
	if more {
		return stage
	}
	return StageDeniedComplete
}

func ruleOf(ev Event) *rule {
	switch ev.(type) {
	case HTTPResponseInformational:
		return &orderHTTPInformational
	case HTTPResponseStart:
		return &orderHTTPStart
	case HTTPResponseBody:
		return &orderHTTPBody
	case HTTPResponseTrailers:
		return &orderHTTPTrailers
	case SSEStart:
		return &orderSSEStart
	case SSEHTTPResponseStart:
		return &orderSSEDecline
	case SSEComment, SSEKeepalive:
		return &orderSSEEarly
	case SSESend:
		return &orderSSESend
	case SSEClose:
		return &orderSSEClose
	case SSEHTTPResponseBody:
		return &orderSSEBody
	case WebSocketAccept:
		return &orderWSAccept
	case WebSocketSend, WebSocketKeepalive:
		return &orderWSSend
	case WebSocketClose:
		return &orderWSClose
	case WebSocketHTTPResponseStart:
		return &orderWSStart
	case WebSocketHTTPResponseBody:
		return &orderWSBody
	case LifespanStartupComplete, LifespanStartupFailed:
		return &orderStartup
	case LifespanShutdownComplete, LifespanShutdownFailed:
		return &orderShutdown
	case HTTPRequest, SSERequest:
		return &orderRequest
	case WebSocketConnect:
		return &orderConnect
	case WebSocketReceive:
		return &orderMessage
	case LifespanStartup:
		return &orderLifespanBegin
	case LifespanShutdown:
		return &orderLifespanEnd
	}
	return &orderAny // a disconnect comes at any time; HTTPFullFlush may be sent at any time
}
