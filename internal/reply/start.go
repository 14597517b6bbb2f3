package reply

import (
	"net/http"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Start returns the status and the headers of an event that begins a response or accepts a WebSocket. ok
// is false for another event.
func Start(ev pagi.Event) (status int, headers pagi.Headers, ok bool) {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		return e.Status, e.Headers, true
	case pagi.SSEStart:
		if e.Status == 0 {
			return http.StatusOK, e.Headers, true
		}
		return e.Status, e.Headers, true
	case pagi.SSEHTTPResponseStart:
		return e.Status, e.Headers, true
	case pagi.WebSocketAccept:
		return http.StatusSwitchingProtocols, e.Headers, true
	case pagi.WebSocketHTTPResponseStart:
		return e.Status, e.Headers, true
	}
	return 0, nil, false
}

// EditStart lets edit replace the headers of an event that begins a response or accepts a WebSocket.
// edit must not change the headers that it gets. For another event, isStart is false and edit is not
// called. With an error of edit, the event is returned as it was.
func EditStart(ev pagi.Event, edit func(pagi.Headers) (pagi.Headers, error)) (edited pagi.Event, isStart bool, err error) {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		e.Headers, err = edit(e.Headers)
		edited = e
	case pagi.SSEStart:
		e.Headers, err = edit(e.Headers)
		edited = e
	case pagi.SSEHTTPResponseStart:
		e.Headers, err = edit(e.Headers)
		edited = e
	case pagi.WebSocketAccept:
		e.Headers, err = edit(e.Headers)
		edited = e
	case pagi.WebSocketHTTPResponseStart:
		e.Headers, err = edit(e.Headers)
		edited = e
	default:
		return ev, false, nil
	}
	if err != nil {
		return ev, true, err
	}
	return edited, true, nil
}
