package adapter

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
)

// FuzzAsk has a gateway ask an adapter with a real worker for whatever the fuzzer makes up. Nothing may panic, and the
// adapter still answers afterwards. A worker that the gateway rightly has killed is started again.
func FuzzAsk(f *testing.F) {
	testkit.Tool(f, "perl", "perl")
	s := newServer(Settings{Linger: 60}, f.TempDir())
	s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	options, err := json.Marshal(psgi.PSGI{Code: "sub { [200, [], []] }", Name: "/", Processes: worker.Processes{Workers: 1}})
	if err != nil {
		f.Fatal(err)
	}
	m, _, err := s.take(f.Context(), &adapterpb.OpenRequest{Gateway: "g", Mount: "m", Kind: "psgi", Name: "/", Options: options})
	if err != nil {
		f.Fatal(err)
	}
	if err := m.keeper.Start(context.Background()); err != nil {
		f.Fatal(err)
	}
	close(m.opened)
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.stopAll(ctx); err != nil {
			f.Error(err)
		}
	})
	if _, err := m.keeper.Attach(f.Context(), "g"); err != nil {
		f.Fatal(err)
	}
	for _, argument := range []string{
		`{}`, `null`, `[]`, `{`, `{"Gateway":"g","Workers":[{"Worker":1,"Served":-5,"Idle":true,"IdleFor":-9223372036854775808},{"Worker":99}],"Ended":[{"Worker":-1,"AtWork":true}]}`,
		`{"Gateway":"g","Worker":-1}`, `{"Gateway":"nobody","Worker":1}`, `{"Worker":1}`,
		`{"Gateway":"g","Queued":-3,"Oldest":-1,"Closing":true}`, `{"Gateway":"g","Worker":7,"Silent":true,"For":-1,"Broken":true}`,
	} {
		for call := range calls {
			if call == "reload" {
				continue // what it costs is a new Perl for each input
			}
			f.Add("m", call, []byte(argument))
		}
		f.Add("none", "status", []byte(argument))
		f.Add("m", "no such call", []byte(argument))
	}
	f.Fuzz(func(t *testing.T, mount, call string, argument []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if call == "reload" || call == "resize" && !small(argument) {
			return
		}
		_, _ = s.Ask(ctx, &adapterpb.AskRequest{Mount: mount, Call: call, Argument: argument}) // an error is an answer
		if _, err := s.Ask(ctx, &adapterpb.AskRequest{Mount: "m", Call: "status", Argument: []byte("{}")}); err != nil {
			t.Errorf("after %s %q: %v", call, argument, err)
		}
	})
}

// small reports whether a change of the number of workers is one that this machine has room for.
func small(argument []byte) bool {
	var r struct{ By int }
	return json.Unmarshal(argument, &r) != nil || r.By < 2
}
