package pagi_test

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// stageNames are the stages in the columns of TestOrderOfEvents.
var stageNames = []string{"begin", "open", "announced", "ended", "denied", "denied complete", "complete"}

// The stages at which each event may come, by PAGI::Spec::Www and PAGI::Spec::Lifespan. Stages
// that a scope of the event's type does not have are left out.
func TestOrderOfEvents(t *testing.T) {
	for _, tt := range []struct {
		ev     pagi.Event
		may    string // the stages at which it may come
		mayNot string // those at which it may not
	}{
		{pagi.HTTPResponseInformational{}, "begin", "open announced ended complete"},
		{pagi.HTTPResponseStart{}, "begin", "open announced ended complete"},
		{pagi.HTTPResponseBody{}, "open announced", "begin ended complete"},
		{pagi.HTTPResponseTrailers{}, "ended", "begin open announced complete"},
		{pagi.HTTPFullFlush{}, "begin open announced ended complete denied", ""},

		{pagi.SSEStart{}, "begin", "open complete denied denied-complete"},
		{pagi.SSESend{}, "open", "begin complete denied denied-complete"},
		{pagi.SSEComment{}, "begin open", "complete denied denied-complete"},
		{pagi.SSEKeepalive{}, "begin open", "complete denied denied-complete"},
		{pagi.SSEClose{}, "open complete", "begin denied denied-complete"},
		{pagi.SSEHTTPResponseStart{}, "begin", "open complete denied denied-complete"},
		{pagi.SSEHTTPResponseBody{}, "denied", "begin open complete denied-complete"},

		{pagi.WebSocketAccept{}, "begin complete", "open denied denied-complete"},
		{pagi.WebSocketSend{}, "open complete", "begin denied denied-complete"},
		{pagi.WebSocketKeepalive{}, "open complete", "begin denied denied-complete"},
		{pagi.WebSocketClose{}, "begin open complete", "denied denied-complete"},
		{pagi.WebSocketHTTPResponseStart{}, "begin open complete", "denied denied-complete"},
		{pagi.WebSocketHTTPResponseBody{}, "open complete denied", "begin denied-complete"},

		{pagi.LifespanStartupComplete{}, "begin", "open complete"},
		{pagi.LifespanStartupFailed{}, "begin", "open complete"},
		{pagi.LifespanShutdownComplete{}, "begin open", "complete"},
		{pagi.LifespanShutdownFailed{}, "begin open", "complete"},

		{pagi.HTTPRequest{}, "begin", "ended complete"},
		{pagi.HTTPDisconnect{}, "begin ended complete", ""},
		{pagi.SSERequest{}, "begin", "ended complete"},
		{pagi.SSEDisconnect{}, "begin ended complete", ""},
		{pagi.WebSocketConnect{}, "begin", "open complete"},
		{pagi.WebSocketReceive{}, "open", "begin complete"},
		{pagi.WebSocketDisconnect{}, "begin open complete", ""},
		{pagi.LifespanStartup{}, "begin", "open complete"},
		{pagi.LifespanShutdown{}, "open", "begin complete"},
	} {
		t.Run(tt.ev.EventType(), func(t *testing.T) {
			for stage, name := range stageNames {
				name = strings.ReplaceAll(name, " ", "-")
				err := pagi.CheckOrder(pagi.Stage(stage), tt.ev)
				if has(tt.may, name) && err != nil || has(tt.mayNot, name) && err == nil {
					t.Errorf("at %s: %v", name, err)
				}
			}
		})
	}
}

func has(list, name string) bool {
	for item := range strings.FieldsSeq(list) {
		if item == name {
			return true
		}
	}
	return false
}
