package pagi_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestValidateAccepts(t *testing.T) {
	h := pagi.NewHeaders("content-type", "text/plain", "x-odd!#$%&'*+-.^_`|~09", "caf\xe9\t ok")
	for scope, events := range map[string][]pagi.Event{
		pagi.TypeHTTP: {
			pagi.HTTPResponseStart{Status: 200, Headers: h}, pagi.HTTPResponseStart{Status: 999, Trailers: true},
			pagi.HTTPResponseBody{}, pagi.HTTPResponseBody{Body: []byte("x"), More: true},
			pagi.HTTPResponseBody{File: "/etc/hosts", Offset: 3, Length: 2}, pagi.HTTPResponseBody{FH: strings.NewReader("x"), Length: pagi.ToEnd},
			pagi.HTTPResponseTrailers{Headers: h}, pagi.HTTPResponseTrailers{},
			pagi.HTTPResponseInformational{Status: 103, Headers: h}, pagi.HTTPResponseInformational{Status: 199},
			pagi.HTTPFullFlush{},
		},
		pagi.TypeWebSocket: {
			pagi.WebSocketAccept{}, pagi.WebSocketAccept{Subprotocol: "chat.v1", Headers: h},
			pagi.WebSocketSend{Text: "grüße"}, pagi.WebSocketSend{}, pagi.WebSocketSend{Binary: true}, pagi.WebSocketSend{Bytes: []byte{0xff}, Binary: true},
			pagi.WebSocketKeepalive{}, pagi.WebSocketKeepalive{Interval: time.Second, Timeout: time.Second},
			pagi.WebSocketClose{}, pagi.WebSocketClose{Code: 1000}, pagi.WebSocketClose{Code: 1014}, pagi.WebSocketClose{Code: 3000}, pagi.WebSocketClose{Code: 4999, Reason: strings.Repeat("r", 123)},
			pagi.WebSocketHTTPResponseStart{Status: 401, Headers: h}, pagi.WebSocketHTTPResponseBody{Body: []byte("no"), More: true},
		},
		pagi.TypeSSE: {
			pagi.SSEStart{}, pagi.SSEStart{Status: 204, Headers: h},
			pagi.SSESend{Data: "two\nlines", Event: "tick", ID: "1", HasRetry: true}, pagi.SSESend{},
			pagi.SSEComment{Comment: ": ping\ntwo"}, pagi.SSEKeepalive{Interval: time.Second, Comment: "ping\r\ntwo"}, pagi.SSEKeepalive{},
			pagi.SSEClose{}, pagi.SSEClose{Reason: "done"},
			pagi.SSEHTTPResponseStart{Status: 404}, pagi.SSEHTTPResponseBody{}, pagi.HTTPFullFlush{},
		},
		pagi.TypeLifespan: {
			pagi.LifespanStartupComplete{}, pagi.LifespanStartupFailed{Message: "no"},
			pagi.LifespanShutdownComplete{}, pagi.LifespanShutdownFailed{},
		},
	} {
		for _, ev := range events {
			if err := pagi.Validate(scope, ev); err != nil {
				t.Errorf("%s %+v: %v", scope, ev, err)
			}
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	header := func(name, value string) pagi.Headers { return pagi.Headers{{Name: name, Value: value}} }
	type refusal struct {
		scope string
		ev    pagi.Event
		field string
		say   string
	}
	cases := map[string]refusal{
		"a status below 200":                  {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 199}, "status", "is 199"},
		"a status that is missing":            {pagi.TypeHTTP, pagi.HTTPResponseStart{}, "status", "is 0"},
		"a status above 999":                  {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 1000}, "status", "is 1000"},
		"CR in a header's value":              {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x", "a\rb")}, "headers", "value of \"x\""},
		"LF in a header's value":              {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x", "a\nb")}, "headers", "value of \"x\""},
		"NUL in a header's value":             {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x", "a\x00b")}, "headers", "value of \"x\""},
		"SOH in a header's value":             {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x", "a\x01b")}, "headers", "control character in the value of \"x\""},
		"DEL in a trailer's value":            {pagi.TypeHTTP, pagi.HTTPResponseTrailers{Headers: header("x", "\x7f")}, "headers", "control character in the value of \"x\""},
		"LF in a header's name":               {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x\n", "a")}, "headers", "not a token"},
		"a control character in a name":       {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x\x01", "a")}, "headers", "not a token"},
		"a space in a header's name":          {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("x y", "a")}, "headers", "not a token"},
		"an empty header name":                {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("", "a")}, "headers", "not a token"},
		"a header name outside ASCII":         {pagi.TypeHTTP, pagi.HTTPResponseStart{Status: 200, Headers: header("naïve", "a")}, "headers", "not a token"},
		"body and file at once":               {pagi.TypeHTTP, pagi.HTTPResponseBody{Body: []byte("x"), File: "/x", Length: pagi.ToEnd}, "", "exclude"},
		"body and fh at once":                 {pagi.TypeHTTP, pagi.HTTPResponseBody{Body: []byte("x"), FH: strings.NewReader(""), Length: pagi.ToEnd}, "", "exclude"},
		"file and fh at once":                 {pagi.TypeHTTP, pagi.HTTPResponseBody{File: "/x", FH: strings.NewReader(""), Length: pagi.ToEnd}, "", "exclude"},
		"a negative offset":                   {pagi.TypeHTTP, pagi.HTTPResponseBody{File: "/x", Offset: -1, Length: pagi.ToEnd}, "offset", "is -1"},
		"a negative length":                   {pagi.TypeHTTP, pagi.HTTPResponseBody{File: "/x", Length: -2}, "length", "is -2"},
		"NUL in a file's name":                {pagi.TypeHTTP, pagi.HTTPResponseBody{File: "/x\x00.txt", Length: pagi.ToEnd}, "file", "NUL"},
		"a bad trailer":                       {pagi.TypeHTTP, pagi.HTTPResponseTrailers{Headers: header("x", "\n")}, "headers", ""},
		"informational 100":                   {pagi.TypeHTTP, pagi.HTTPResponseInformational{Status: 100}, "status", "is 100"},
		"informational 101":                   {pagi.TypeHTTP, pagi.HTTPResponseInformational{Status: 101}, "status", "is 101"},
		"informational 200":                   {pagi.TypeHTTP, pagi.HTTPResponseInformational{Status: 200}, "status", "is 200"},
		"a bad informational header":          {pagi.TypeHTTP, pagi.HTTPResponseInformational{Status: 103, Headers: header("link", "\r\n")}, "headers", ""},
		"a receive event sent":                {pagi.TypeHTTP, pagi.HTTPRequest{}, "type", "scope of type http"},
		"another protocol's event":            {pagi.TypeHTTP, pagi.WebSocketSend{}, "type", "websocket.send"},
		"no event at all":                     {pagi.TypeHTTP, nil, "type", "missing"},
		"a pointer":                           {pagi.TypeHTTP, &pagi.HTTPResponseBody{}, "", "is a pointer"},
		"a nil pointer":                       {pagi.TypeHTTP, (*pagi.HTTPResponseBody)(nil), "", "is a pointer"},
		"a subprotocol that is no token":      {pagi.TypeWebSocket, pagi.WebSocketAccept{Subprotocol: "a b"}, "subprotocol", "token"},
		"a bad accept header":                 {pagi.TypeWebSocket, pagi.WebSocketAccept{Headers: header("x", "\n")}, "headers", ""},
		"text in a binary message":            {pagi.TypeWebSocket, pagi.WebSocketSend{Text: "x", Binary: true}, "text", "'bytes'"},
		"bytes in a text message":             {pagi.TypeWebSocket, pagi.WebSocketSend{Bytes: []byte("x")}, "bytes", "'text'"},
		"text that is not UTF-8":              {pagi.TypeWebSocket, pagi.WebSocketSend{Text: "\xff"}, "text", "UTF-8"},
		"a negative ping interval":            {pagi.TypeWebSocket, pagi.WebSocketKeepalive{Interval: -1}, "interval", "negative"},
		"a negative pong timeout":             {pagi.TypeWebSocket, pagi.WebSocketKeepalive{Timeout: -1}, "timeout", "negative"},
		"close code 999":                      {pagi.TypeWebSocket, pagi.WebSocketClose{Code: 999}, "code", "is 999"},
		"close code 1005":                     {pagi.TypeWebSocket, pagi.WebSocketClose{Code: 1005}, "code", "is 1005"},
		"close code 1006":                     {pagi.TypeWebSocket, pagi.WebSocketClose{Code: 1006}, "code", "is 1006"},
		"close code 1015":                     {pagi.TypeWebSocket, pagi.WebSocketClose{Code: 1015}, "code", "is 1015"},
		"close code 2999":                     {pagi.TypeWebSocket, pagi.WebSocketClose{Code: 2999}, "code", "is 2999"},
		"close code 5000":                     {pagi.TypeWebSocket, pagi.WebSocketClose{Code: 5000}, "code", "is 5000"},
		"a close reason of 124 bytes":         {pagi.TypeWebSocket, pagi.WebSocketClose{Reason: strings.Repeat("r", 124)}, "reason", "123"},
		"a close reason that is not UTF-8":    {pagi.TypeWebSocket, pagi.WebSocketClose{Reason: "\xff"}, "reason", "UTF-8"},
		"a denial without a status":           {pagi.TypeWebSocket, pagi.WebSocketHTTPResponseStart{}, "status", "is 0"},
		"an http event on a websocket":        {pagi.TypeWebSocket, pagi.HTTPResponseStart{Status: 200}, "type", "websocket"},
		"an sse status of 100":                {pagi.TypeSSE, pagi.SSEStart{Status: 100}, "status", "is 100"},
		"a bad sse header":                    {pagi.TypeSSE, pagi.SSEStart{Headers: header("x", "\n")}, "headers", ""},
		"LF in an sse event name":             {pagi.TypeSSE, pagi.SSESend{Event: "a\nb"}, "event", "newline"},
		"CR in an sse event name":             {pagi.TypeSSE, pagi.SSESend{Event: "a\rb"}, "event", "newline"},
		"LF in an sse id":                     {pagi.TypeSSE, pagi.SSESend{ID: "1\n"}, "id", "newline"},
		"NUL in an sse id":                    {pagi.TypeSSE, pagi.SSESend{ID: "1\x00"}, "id", "NUL"},
		"a negative retry":                    {pagi.TypeSSE, pagi.SSESend{Retry: -1, HasRetry: true}, "retry", "negative"},
		"a negative keepalive interval":       {pagi.TypeSSE, pagi.SSEKeepalive{Interval: -1}, "interval", "negative"},
		"a keepalive comment not in UTF-8":    {pagi.TypeSSE, pagi.SSEKeepalive{Comment: "\xff"}, "comment", "UTF-8"},
		"an sse decline without a status":     {pagi.TypeSSE, pagi.SSEHTTPResponseStart{}, "status", "is 0"},
		"an http body on an sse stream":       {pagi.TypeSSE, pagi.HTTPResponseBody{}, "type", "sse"},
		"a startup event sent by the app":     {pagi.TypeLifespan, pagi.LifespanStartup{}, "type", "lifespan"},
		"a response during lifespan":          {pagi.TypeLifespan, pagi.HTTPResponseStart{Status: 200}, "type", "lifespan"},
		"fullflush where no response can be":  {pagi.TypeLifespan, pagi.HTTPFullFlush{}, "type", "lifespan"},
		"fullflush on a websocket":            {pagi.TypeWebSocket, pagi.HTTPFullFlush{}, "type", "websocket"},
		"a body of a websocket denial in sse": {pagi.TypeSSE, pagi.WebSocketHTTPResponseBody{}, "type", "sse"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := pagi.Validate(c.scope, c.ev)
			var bad *pagi.EventError
			if !errors.As(err, &bad) {
				t.Fatalf("got %v, want an *EventError", err)
			}
			if bad.Field != c.field || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %q about field %q, want field %q and %q in it", err, bad.Field, c.field, c.say)
			}
		})
	}
	if err := pagi.Validate("gopher", pagi.HTTPResponseBody{}); !errors.Is(err, pagi.ErrUnsupported) {
		t.Errorf("an unknown scope type: %v", err)
	}
}

func TestEventTypesAreTheSpecifications(t *testing.T) {
	for ev, want := range map[pagi.Event]string{
		pagi.HTTPDisconnect{}: "http.disconnect", pagi.HTTPFullFlush{}: "http.fullflush",
		pagi.WebSocketConnect{}: "websocket.connect", pagi.WebSocketDisconnect{}: "websocket.disconnect",
		pagi.WebSocketKeepalive{}: "websocket.keepalive", pagi.WebSocketClose{}: "websocket.close",
		pagi.SSEDisconnect{}: "sse.disconnect", pagi.SSESend{}: "sse.send", pagi.SSEComment{}: "sse.comment",
		pagi.SSEKeepalive{}: "sse.keepalive", pagi.SSEClose{}: "sse.close",
		pagi.LifespanStartup{}: "lifespan.startup", pagi.LifespanShutdown{}: "lifespan.shutdown",
		pagi.LifespanStartupComplete{}: "lifespan.startup.complete", pagi.LifespanStartupFailed{}: "lifespan.startup.failed",
		pagi.LifespanShutdownComplete{}: "lifespan.shutdown.complete", pagi.LifespanShutdownFailed{}: "lifespan.shutdown.failed",
	} {
		if ev.EventType() != want {
			t.Errorf("%T is called %q", ev, ev.EventType())
		}
	}
	for want, ev := range map[string]pagi.Event{
		"http.request": pagi.HTTPRequest{}, "http.response.start": pagi.HTTPResponseStart{}, "http.response.body": pagi.HTTPResponseBody{},
		"http.response.trailers": pagi.HTTPResponseTrailers{}, "http.response.informational": pagi.HTTPResponseInformational{},
		"websocket.receive": pagi.WebSocketReceive{}, "websocket.send": pagi.WebSocketSend{}, "websocket.accept": pagi.WebSocketAccept{},
		"websocket.http.response.start": pagi.WebSocketHTTPResponseStart{}, "websocket.http.response.body": pagi.WebSocketHTTPResponseBody{},
		"sse.request": pagi.SSERequest{}, "sse.start": pagi.SSEStart{}, "sse.http.response.start": pagi.SSEHTTPResponseStart{}, "sse.http.response.body": pagi.SSEHTTPResponseBody{},
	} {
		if ev.EventType() != want {
			t.Errorf("%T is called %q", ev, ev.EventType())
		}
	}
}
