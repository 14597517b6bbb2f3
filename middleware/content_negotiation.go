package middleware

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// ContentNegotiation finds the media type of the answer that the client likes best by its Accept
// header (RFC 9110 section 12.5.1). The application finds it in the scope as
// scopekey.PreferredContentType, and what the client accepts as scopekey.AcceptedTypes, a []string
// with the best first. Vary has Accept in each answer. It acts in http and sse scopes.
type ContentNegotiation struct {
	// SupportedTypes are the types that the application has, its preferred one first: media types
	// ("text/html") or short names ("json", see request.MediaType). At least one is needed.
	SupportedTypes []string `yaml:"supported_types"`
	// DefaultType is the type for a client that accepts none of them; "" means the first one.
	DefaultType string `yaml:"default_type"`
	// Strict answers such a client 406, with the list of the types. EventSource accepts
	// text/event-stream alone, so Strict refuses event streams unless that is in the list.
	Strict bool `yaml:"strict"`
}

func init() { parts.Middleware[ContentNegotiation]("content_negotiation") }

// Check reports types that are missing or none, and a default that is ruled out by Strict.
func (m ContentNegotiation) Check() error {
	if len(m.SupportedTypes) == 0 {
		return pagi.BadOption("supported_types", "name the media types that the application has")
	}
	for _, t := range m.SupportedTypes {
		if err := checkOneType("supported_types", t); err != nil {
			return err
		}
	}
	switch {
	case m.DefaultType == "":
		return nil
	case m.Strict:
		return pagi.BadOption("default_type", "has no meaning with strict")
	}
	return checkOneType("default_type", m.DefaultType)
}

// checkOneType reports what is no media type, with parameters or not, and no short name of one.
func checkOneType(option, t string) error {
	name := strings.TrimRight(before(request.MediaType(t), ";"), " ")
	if major, minor, ok := strings.Cut(name, "/"); !ok || !isMediaName(major) || !isMediaName(minor) {
		return pagi.BadOption(option, "%q is no media type as text/html", t)
	}
	return checkValue(option, t)
}

// Wrap puts m around next.
func (m ContentNegotiation) Wrap(next pagi.App) pagi.App {
	var offers []string
	for _, t := range m.SupportedTypes {
		offers = append(offers, request.MediaType(t))
	}
	otherwise := request.MediaType(m.DefaultType)
	if m.DefaultType == "" && len(offers) > 0 {
		otherwise = offers[0]
	}
	list := strings.Join(offers, ", ")
	vary := func(h *pagi.Headers) { varyOn(h, "accept") }
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeWebSocket {
			return next.Serve(ctx, scope, receive, send)
		}
		preferred, accepted := offers[0], []string{"*/*"}
		if ranges := request.ParseAccept(scope.Headers.Joined("accept")); len(ranges) > 0 {
			preferred, accepted = request.New(ctx, scope, receive).Accepts(offers...), byPreference(ranges)
		}
		if preferred == "" {
			if m.Strict {
				return reply.Text(ctx, scope, send, http.StatusNotAcceptable, "This page is available as: "+list, "vary", "accept")
			}
			preferred = otherwise
		}
		scope = scope.With(scopekey.PreferredContentType, preferred).With(scopekey.AcceptedTypes, accepted)
		return next.Serve(ctx, scope, receive, editStart(send, vary))
	})
}

// byPreference returns what the ranges of an Accept header accept: by weight, then the more
// specific ones first, then as in the header.
func byPreference(ranges []request.AcceptRange) []string {
	slices.SortStableFunc(ranges, func(a, b request.AcceptRange) int {
		return cmp.Or(cmp.Compare(b.Q, a.Q), cmp.Compare(asterisks(a), asterisks(b)), cmp.Compare(len(b.Params), len(a.Params)))
	})
	var accepted []string
	for _, r := range ranges {
		if r.Q > 0 {
			accepted = append(accepted, r.Value)
		}
	}
	return accepted
}

func asterisks(r request.AcceptRange) int { return strings.Count(r.Value, "*") }
