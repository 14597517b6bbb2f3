package control

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

func right() *pluginpb.Endpoint {
	return &pluginpb.Endpoint{
		Mount: "1", Id: "1", Pid: 7, Network: "unix", Address: "/run/p/s1", Token: strings.Repeat("t", 26),
		Kind: pluginpb.EndpointKind_ENDPOINT_KIND_SCOPES, State: pluginpb.EndpointState_ENDPOINT_STATE_SERVING,
	}
}

func TestCheckEndpoint(t *testing.T) {
	if err := CheckEndpoint("/run/p", right()); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(e *pluginpb.Endpoint){
		"its id":               func(e *pluginpb.Endpoint) { e.Id = "../x" },
		"its state":            func(e *pluginpb.Endpoint) { e.State = 9 },
		"its kind":             func(e *pluginpb.Endpoint) { e.Kind = 9 },
		"its network":          func(e *pluginpb.Endpoint) { e.Network = "tcp" },
		"its token":            func(e *pluginpb.Endpoint) { e.Token = "short" },
		"its pid":              func(e *pluginpb.Endpoint) { e.Pid = 0 },
		"is not a plain":       func(e *pluginpb.Endpoint) { e.Address = "/run/p/../q/s" },
		"is not in /run/p":     func(e *pluginpb.Endpoint) { e.Address = "/run/q/s" },
		"is not in /run/p, th": func(e *pluginpb.Endpoint) { e.Address = "/run/p/deeper/s" },
		"is not a path":        func(e *pluginpb.Endpoint) { e.Address = "/run/p/\x00" },
	} {
		e := right()
		change(e)
		if err := CheckEndpoint("/run/p", e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Whatever bytes a plugin sends for an endpoint, one that is accepted lies in the directory, and no message has control
// characters.
func FuzzEndpoint(f *testing.F) {
	text, err := proto.Marshal(right())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var e pluginpb.Endpoint
		if proto.Unmarshal(text, &e) != nil {
			return
		}
		err := CheckEndpoint("/run/p", &e)
		switch {
		case err != nil:
			if strings.ContainsAny(err.Error(), "\x00\x1b\n") || len(err.Error()) > 2000 {
				t.Errorf("%q", err)
			}
		case e.State != pluginpb.EndpointState_ENDPOINT_STATE_ENDED && filepath.Dir(e.Address) != "/run/p":
			t.Errorf("%q is accepted", e.Address)
		}
	})
}

// Texts of a plugin that go into messages are clean and short.
func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\nc\xff", 5)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = max(0, min(most, 1000))
		if got := Clean(text, most); strings.ContainsAny(got, "\x00\x1b\n\r\x7f") || len(got) > most+len("...") {
			t.Errorf("%q", got)
		}
	})
}
