// Package reply sends a small whole response in the way that the scope's protocol has for it.
// Ready-made applications and middleware use it to answer by themselves instead of passing the
// request on.
package reply

import (
	"context"
	"net/http"
	"strconv"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Send answers with status, headers and body, adding a content-length where a
// body is allowed:
//
//   - http: a response;
//   - sse: the stream is declined with that response;
//   - websocket: the handshake is denied with that response, or with a bare 403
//     where the server cannot send one;
//   - anything else: declined with pagi.Unsupported.
func Send(ctx context.Context, scope *pagi.Scope, send pagi.Send, status int, headers pagi.Headers, body []byte) error {
	switch scope.Type {
	case pagi.TypeHTTP, pagi.TypeSSE, pagi.TypeWebSocket:
	default:
		return pagi.Unsupported(scope)
	}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		headers = headers.Clone()
		headers.Set("content-length", strconv.Itoa(len(body)))
	}
	var start, rest pagi.Event
	switch {
	case scope.Type == pagi.TypeHTTP:
		start, rest = pagi.HTTPResponseStart{Status: status, Headers: headers}, pagi.HTTPResponseBody{Body: body}
	case scope.Type == pagi.TypeSSE:
		start, rest = pagi.SSEHTTPResponseStart{Status: status, Headers: headers}, pagi.SSEHTTPResponseBody{Body: body}
	case scope.HasExtension(pagi.ExtDenialResponse):
		start, rest = pagi.WebSocketHTTPResponseStart{Status: status, Headers: headers}, pagi.WebSocketHTTPResponseBody{Body: body}
	default:
		return send(ctx, pagi.WebSocketClose{})
	}
	if err := send(ctx, start); err != nil {
		return err
	}
	return send(ctx, rest)
}

// Text answers with a line of plain text and further headers, given as name,
// value pairs.
func Text(ctx context.Context, scope *pagi.Scope, send pagi.Send, status int, text string, pairs ...string) error {
	headers := append(pagi.NewHeaders("content-type", "text/plain; charset=utf-8"), pagi.NewHeaders(pairs...)...)
	return Send(ctx, scope, send, status, headers, []byte(text+"\n"))
}

// Status answers with the status's own name as text.
func Status(ctx context.Context, scope *pagi.Scope, send pagi.Send, status int, pairs ...string) error {
	return Text(ctx, scope, send, status, http.StatusText(status), pairs...)
}
