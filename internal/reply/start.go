package reply

import "github.com/pagi-go/pagi-bridge/pagi"

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
