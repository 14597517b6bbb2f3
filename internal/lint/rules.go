// Package lint checks what an application does against the PAGI specification 0.3: the events that
// it sends, their order, and its treatment of the scope. The rules for single events and for their
// order are those of pagi.Validate and pagi.CheckOrder. This package has the others, and gives each
// rule an id and its place in the specification.
//
// The server uses it in development, package pagi/pagitest in tests, and the middleware Lint anywhere.
package lint

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Rule is the id of a rule.
type Rule string

// The rules.
const (
	ScopeType     Rule = "scope-type"     // the scope has a type that the specification knows
	ScopeFields   Rule = "scope-fields"   // a scope has the fields of its type
	ScopeHeaders  Rule = "scope-headers"  // the names of a scope's headers are in lower case
	ScopeChanged  Rule = "scope-changed"  // only the maker of a scope changes it
	EventKind     Rule = "event-kind"     // an event is one that may be sent in the scope
	EventField    Rule = "event-field"    // the fields of an event have the right kind and range
	EventOrder    Rule = "event-order"    // an event comes when it may come
	EventOffered  Rule = "event-offered"  // an event of an extension is sent only where that is offered
	HeaderCase    Rule = "header-case"    // header names are in lower case
	BodyLength    Rule = "body-length"    // a body is as long as its content-length
	BodyForbidden Rule = "body-forbidden" // a response with status 204 or 304 has no body
	Incomplete    Rule = "incomplete"     // an application returns when its response is complete
	AfterReturn   Rule = "after-return"   // an application that has returned neither sends nor receives
	ReceiveTwice  Rule = "receive-twice"  // one receive at a time
)

// Sections of the specification.
const (
	main     = "PAGI::Spec, "
	www      = "PAGI::Spec::Www, "
	lifespan = "PAGI::Spec::Lifespan, "
)

// sections are the places of rules that are not about one type of events.
var sections = map[Rule]string{
	ScopeType:     main + "Connection Scope",
	ScopeFields:   main + "Connection Scope",
	ScopeHeaders:  www + "Headers Format",
	ScopeChanged:  main + "Middleware",
	EventKind:     main + "Events",
	EventOffered:  main + "Extensions",
	HeaderCase:    www + "Headers Format",
	BodyLength:    www + "Response Body",
	BodyForbidden: www + "Response Body",
	Incomplete:    main + "Applications",
	AfterReturn:   main + "Applications",
	ReceiveTwice:  main + "Applications",
}

// eventSections are the places of the events.
var eventSections = map[string]string{
	"http.response.start":        www + "Response Start",
	"http.response.body":         www + "Response Body",
	"http.response.trailers":     www + "Response Trailers",
	"websocket.accept":           www + "Accept",
	"websocket.send":             www + "Send",
	"websocket.close":            www + "Close",
	"sse.start":                  www + "Start SSE",
	"sse.send":                   www + "Send SSE",
	"sse.comment":                www + "SSE Comment",
	"lifespan.startup.complete":  lifespan + "Startup Complete",
	"lifespan.startup.failed":    lifespan + "Startup Failed",
	"lifespan.shutdown.complete": lifespan + "Shutdown Complete",
	"lifespan.shutdown.failed":   lifespan + "Shutdown Failed",
}

// Violation is a rule that an application breaks.
type Violation struct {
	// Rule is the rule's id.
	Rule Rule
	// Section is the place of the rule in the specification.
	Section string
	// Err says what is wrong and how to correct it: for an event an *pagi.EventError.
	Err error
}

func (v *Violation) Error() string { return fmt.Sprintf("%v [%s: %s]", v.Err, v.Rule, v.Section) }

// Unwrap returns Err.
func (v *Violation) Unwrap() error { return v.Err }

// broken returns a Violation that is not about one event.
func broken(rule Rule, format string, args ...any) *Violation {
	return &Violation{rule, sections[rule], fmt.Errorf(format, args...)}
}

// brokenBy returns a Violation by an event.
func brokenBy(rule Rule, ev pagi.Event, err error) *Violation {
	section := sections[rule]
	if section == "" {
		section = main + "Events"
		if known := eventSections[ev.EventType()]; known != "" {
			section = known
		}
	}
	return &Violation{rule, section, err}
}
