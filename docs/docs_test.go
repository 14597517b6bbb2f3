package docs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/docs"
)

func TestTablesAreRead(t *testing.T) {
	for _, c := range []struct {
		part, key, want string
		values          []string
	}{
		{docs.Site, "pid_file", "Where the process's number is written.", nil},
		{docs.Site, "lifespan", "", []string{"auto", "on", "off"}},
		{docs.Mount, "path", "The prefix, matched at slashes", nil},
		{docs.Route, "type", "What the route serves: requests", []string{"http", "sse", "websocket"}},
		{docs.Place, "mode", "Of a Unix socket's file.", nil},
		{docs.Services, "command", "The program and its arguments. No shell reads it. Required.", nil},
		{docs.Cron, "every", "From one start to the next", nil},
		{docs.Isolate, "nice", "Is added to the priority value, -20 to 19. Default: 0.", nil},
		{docs.Conditions, "address", "Of a client with that address", nil},
		{"psgi", "idle_timeout", "How long a worker beyond `min_workers` may have nothing to do before it goes. Default: 60s.", nil},
		{"directory", "index", "Files tried for a directory", nil},
		{"runtime", "header", "The header's name. Default: `X-Runtime`.", nil},
	} {
		row, ok := docs.Find(c.part, c.key)
		if !ok || !strings.HasPrefix(row.Sentence(), c.want) {
			t.Errorf("%s, %s: %v, %q, want %q", c.part, c.key, ok, row.Sentence(), c.want)
		}
		if diff := cmp.Diff(c.values, row.Values()); diff != "" {
			t.Errorf("%s, %s: %s", c.part, c.key, diff)
		}
	}
	if _, ok := docs.Find("psgi", "unheard_of"); ok {
		t.Error("a key that no table has is found")
	}
	if got := docs.Summary("ws_echo"); !strings.HasPrefix(got, "Sends every message of a WebSocket back.") {
		t.Errorf("the summary of ws_echo is %q", got)
	}
}
