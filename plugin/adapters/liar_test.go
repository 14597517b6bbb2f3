package adapters

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/plugin/adapter"
	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// liar is an adapter that does not do what it should. Its variable says what it does instead.
type liar struct {
	adapterpb.UnimplementedAdapterServer
	set  adapter.Settings
	does string
	dir  string // of its sockets
}

const (
	liarVariable    = "PAGI_TEST_LIAR"
	outsideVariable = "PAGI_TEST_OUTSIDE" // a socket that is not the adapter's
)

// liarMain is the main function of a liar.
func liarMain(does string) int {
	if does == "says nothing" {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the gateway has it killed; its input is /dev/null
		select {}
	}
	l := &liar{does: does}
	if err := json.Unmarshal([]byte(os.Args[2]), &l.set); err != nil {
		panic(err)
	}
	if does == "answers late" {
		time.Sleep(200 * time.Millisecond) // what the test is about
	}
	dir, err := private.Make("liar")
	if err != nil {
		panic(err)
	}
	l.dir = dir.Path()
	if err := os.Setenv("PLUGIN_UNIX_SOCKET_DIR", dir.Path()); err != nil {
		panic(err)
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  control.AdapterHandshake,
		VersionedPlugins: map[int]goplugin.PluginSet{control.LeastProtocol: {control.AdapterService: &control.AdapterSession{Service: l}}},
		Logger:           hclog.NewNullLogger(),
		GRPCServer:       func(options []grpc.ServerOption) *grpc.Server { return grpc.NewServer(options...) },
	})
	return 0
}

// Describe implements adapterpb.AdapterServer.
func (l *liar) Describe(context.Context, *adapterpb.DescribeRequest) (*adapterpb.DescribeResponse, error) {
	d := &adapterpb.DescribeResponse{LeastProtocol: control.LeastProtocol, MostProtocol: control.MostProtocol, Identity: l.set.Identity, Kinds: []string{"psgi"}}
	switch l.does {
	case "is another one":
		d.Identity = "0123456789abcdef"
	case "speaks another version":
		d.LeastProtocol, d.MostProtocol = 1000, 1000
	}
	return d, nil
}

// Open implements adapterpb.AdapterServer.
func (l *liar) Open(_ *adapterpb.OpenRequest, stream grpc.ServerStreamingServer[adapterpb.OpenResponse]) error {
	switch l.does {
	case "never opens":
		<-stream.Context().Done()
		return stream.Context().Err()
	case "sends records that are none":
		if err := stream.Send(&adapterpb.OpenResponse{Record: []byte("{")}); err != nil {
			return err
		}
	case "has no end of errors":
		return stream.Send(&adapterpb.OpenResponse{Done: true, Error: strings.Repeat("no ", 1<<20)})
	}
	return stream.Send(&adapterpb.OpenResponse{Done: true})
}

// Close implements adapterpb.AdapterServer.
func (*liar) Close(context.Context, *adapterpb.CloseRequest) (*adapterpb.CloseResponse, error) {
	return &adapterpb.CloseResponse{}, nil
}

// Leave implements adapterpb.AdapterServer. The process ends without an answer.
func (*liar) Leave(context.Context, *adapterpb.LeaveRequest) (*adapterpb.LeaveResponse, error) {
	os.Exit(0)
	return &adapterpb.LeaveResponse{}, nil
}

// Ask implements adapterpb.AdapterServer.
func (*liar) Ask(context.Context, *adapterpb.AskRequest) (*adapterpb.AskResponse, error) {
	return &adapterpb.AskResponse{Result: []byte("]")}, nil
}

// Attach implements adapterpb.AdapterServer.
func (l *liar) Attach(_ *adapterpb.AttachRequest, stream grpc.ServerStreamingServer[adapterpb.AttachResponse]) error {
	send := func(c lease.Changes) error {
		text, err := json.Marshal(c)
		if err == nil {
			err = stream.Send(&adapterpb.AttachResponse{Changes: text})
		}
		return err
	}
	if err := stream.Send(&adapterpb.AttachResponse{}); err != nil {
		return err
	}
	var err error
	switch l.does {
	case "tells of workers outside":
		err = send(lease.Changes{Endpoints: l.lies()})
	case "floods the log":
		for range 200 {
			if err = send(lease.Changes{Records: make([]lease.Record, 50)}); err != nil {
				return err
			}
		}
	case "tells nonsense":
		return stream.Send(&adapterpb.AttachResponse{Changes: []byte(`{"Endpoints": 7}`)})
	case "never lists":
		<-stream.Context().Done()
	}
	if err == nil {
		err = send(lease.Changes{Listed: true})
	}
	<-stream.Context().Done()
	return err
}

// lies are workers that a gateway must not connect to.
func (l *liar) lies() []lease.Endpoint {
	true_ := lease.Endpoint{Worker: 1, PID: os.Getpid(), UID: os.Geteuid(), Kind: lease.Requests, Token: "0123456789abcdef-0", Address: filepath.Join(l.dir, "none")}
	var all []lease.Endpoint
	for i, lie := range []func(*lease.Endpoint){
		func(e *lease.Endpoint) { e.Address = os.Getenv(outsideVariable) },
		func(e *lease.Endpoint) {
			e.Address = l.dir + "/../../../" + strings.TrimPrefix(os.Getenv(outsideVariable), "/")
		},
		func(e *lease.Endpoint) { e.Address = "@abstract" },
		func(e *lease.Endpoint) { e.Address = "" },
		func(e *lease.Endpoint) { e.Address = strings.Repeat("/x", 1<<16) },
		func(e *lease.Endpoint) { e.UID = 61003 },
		func(e *lease.Endpoint) { e.State = 77 },
		func(e *lease.Endpoint) { e.Worker = -1 },
		func(e *lease.Endpoint) { e.PID = -1 },
		func(e *lease.Endpoint) { e.Kind = "neither" },
		func(e *lease.Endpoint) { e.Token = "" },
	} {
		e := true_
		e.Worker, e.Token = i+1, strings.Replace(e.Token, "-0", "-"+string(rune('a'+i)), 1)
		lie(&e)
		all = append(all, e)
	}
	return all
}

// No adapter keeps its gateway from starting and stopping, whatever it says.
func TestAdaptersThatLie(t *testing.T) {
	for does, want := range map[string]string{
		"says nothing":                "does not answer after 400ms",
		"answers late":                "",
		"is another one":              "the adapter of other mounts",
		"speaks another version":      "version",
		"never opens":                 "deadline",
		"has no end of errors":        "no no no",
		"sends records that are none": "",
		"never lists":                 "deadline",
		"tells nonsense":              "",
		"floods the log":              "",
		"tells of workers outside":    "",
	} {
		t.Run(does, func(t *testing.T) {
			outside := filepath.Join(t.TempDir(), "socket")
			listener, err := net.Listen("unix", outside)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			dialled := make(chan struct{}, 100)
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_ = conn.Close()
					dialled <- struct{}{}
				}
			}()
			t.Setenv(liarVariable, does)
			t.Setenv(outsideVariable, outside)
			h := newHouse(t)
			if does == "says nothing" {
				h.opt.StartTime = 400 * time.Millisecond
			}
			c := pagitest.New(h.app(t, confine.Isolation{}, psgi.PSGI{Code: pids}))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			err = c.Startup(ctx)
			switch {
			case want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 2*mostWords):
				t.Errorf("the start: %.300v", err)
			case want == "" && does != "tells nonsense" && err != nil:
				t.Errorf("the start: %v", err)
			}
			if does == "tells of workers outside" {
				for _, words := range []string{"is not in a private directory", "its user is 61003", "the number 77", "its number is not 1"} {
					h.log.WaitFor(t, words)
				}
			}
			if err == nil {
				end, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				_ = c.Shutdown(end) // its end is not what the adapter has promised
			}
			if n := len(dialled); n > 0 {
				t.Errorf("the gateway has connected to a socket outside %d times", n)
			}
			testkit.Eventually(t, "the end of the adapter", func() bool { return len(h.Status()) == 0 })
		})
	}
}
