// Package adapter is the process in which a gateway keeps the workers of mounts apart from itself: "pagi-bridge adapter".
// It runs what is not the gateway's own, Perl applications and CGI scripts, with a user, limits and an environment of its
// own. The gateway starts it, tells it by gRPC which mounts to open (plugin/proto/adapter.proto), and dials their
// workers. An adapter outlives its gateway: the next one finds the workers warm.
//
// Package plugin/adapters is the gateway's side.
//
// The files: adapter.go is the process, server.go its mounts and the calls of gateways, kinds.go what it can keep,
// resident.go keeps an application in the adapter itself, records.go has log records for gateways.
package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// Settings are what a gateway starts an adapter with, as JSON in its one argument.
type Settings struct {
	// Name is for people who look at the list of processes.
	Name string `json:"name"`
	// Identity is what a gateway recognizes the adapter by.
	Identity string `json:"identity"`
	// Version is that of the program, for people.
	Version string `json:"version"`
	// Linger is how long the adapter goes on without a gateway, in seconds.
	Linger int `json:"linger"`
	// Gateway is the user of the gateway.
	Gateway int `json:"gateway"`
	// Debug says that the gateway logs at the level debug.
	Debug bool `json:"debug"`
}

// mayUse reports a process that is no gateway for this adapter.
func (set *Settings) mayUse(peer proc.Peer) error {
	if peer.UID != 0 && peer.UID != set.Gateway && peer.UID != os.Geteuid() {
		return fmt.Errorf("the user %d may not steer this adapter", peer.UID)
	}
	return nil
}

// IsCommand reports whether a program was started as an adapter.
func IsCommand(args []string) bool { return len(args) > 1 && args[1] == Command }

// Command is the first argument of an adapter's program.
const Command = "adapter"

// killGrace is how long requests may take once the adapter itself is told to end by a signal.
const killGrace = 2 * time.Second

// Main runs an adapter and returns the exit code. It is called before anything else in main: the process confines itself
// first.
func Main(args []string) int {
	if err := confine.Apply(); err != nil {
		fmt.Fprintln(os.Stderr, "pagi-bridge adapter:", err)
		return 1
	}
	if len(args) != 3 || os.Getenv(control.AdapterHandshake.MagicCookieKey) != control.AdapterHandshake.MagicCookieValue {
		fmt.Fprintln(os.Stderr, "pagi-bridge adapter: this command is for the gateway, which starts it for mounts with the option isolate")
		return 2
	}
	var set Settings
	if err := json.Unmarshal([]byte(args[2]), &set); err != nil {
		fmt.Fprintln(os.Stderr, "pagi-bridge adapter: its settings:", err)
		return 2
	}
	if err := run(set); err != nil {
		fmt.Fprintln(os.Stderr, "pagi-bridge adapter:", err)
		return 1
	}
	return 0
}

// run serves gateways until the adapter is not needed any more.
func run(set Settings) (err error) {
	// The gateway's end of the pipes may be gone while the adapter is needed.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	dir, err := private.Make("a")
	if err != nil {
		return err
	}
	defer func() {
		if failed := dir.Remove(); err == nil {
			err = failed
		}
	}()
	if err := os.Setenv("PLUGIN_UNIX_SOCKET_DIR", dir.Path()); err != nil {
		return err
	}
	level := slog.LevelInfo
	if set.Debug {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	s := newServer(set, dir.Path())
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGQUIT)
	go goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  control.AdapterHandshake,
		VersionedPlugins: map[int]goplugin.PluginSet{control.LeastProtocol: {control.AdapterService: &control.AdapterSession{Service: s}}},
		Logger:           hclog.NewNullLogger(),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(control.MaxMessage), grpc.MaxSendMsgSize(control.MaxMessage),
				grpc.Creds(control.Peers{Check: set.mayUse}))...)
		},
	})
	select {
	case <-s.over:
		return nil
	case <-ends:
		ctx, cancel := context.WithTimeout(context.Background(), killGrace)
		defer cancel()
		return s.stopAll(ctx)
	}
}
