// Package plugin is the kit for writing a plugin: a program that the gateway starts, and that serves a mount in a process
// of its own. An application becomes a plugin by one call:
//
//	func main() { plugin.Serve(pagi.AppFunc(hello)) }
//
// One with options is an App, whose options are the fields of a struct:
//
//	type Config struct {
//		// Greeting is what it says.
//		Greeting string `yaml:"greeting" default:"Hello" help:"what it says"`
//	}
//
//	func main() {
//		plugin.App[Config]{Name: "hello", New: func(c *Config) (pagi.App, error) { return &Hello{*c}, nil }}.Serve()
//	}
//
// A site file mounts it by {path: /, plugin: {command: [./hello], config: {greeting: Moin}}}. The command "pagi-bridge
// plugin verify ./hello" starts a plugin, and tells what is wrong with it. docs/plugins.md has the whole story, and how
// to write one in another language.
//
// The package has what a plugin needs. Package plugin/host has the gateway's side, and plugin/verify the checks.
//
// The files: plugin.go is what an author calls, config.go reads options, adapter.go answers the gateway's control plane,
// listener.go serves the gateway's connections.
package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// Serve makes the process a plugin that serves app. It takes no options: a site file that gives it any is refused. Serve
// does not return. The default logger (slog.Default) and all that the process prints go to the gateway's log.
func Serve(app pagi.App) {
	run(&adapter{make: func(any) (pagi.App, error) { return app, nil }, fixed: true})
}

// App is a plugin with options. C is a struct, whose exported fields are the options of a mount, with the tags yaml (the
// name), default, unit:"bytes", required:"yes" and help. Durations, sizes and texts are written as in a site file. An
// unknown option is an error of the site file, at its line. So is the error of a method Check() error that *C has; a
// pagi.OptionError in it names the option.
type App[C any] struct {
	// Name and Version tell people what it is. The defaults are the name of the program's file and the version of its
	// main module.
	Name, Version string
	// New makes the application of a mount. It is called for each start and for each reload. It must not keep goroutines:
	// what starts something answers the lifespan scope.
	New func(config *C) (pagi.App, error)
}

// Serve makes the process a plugin. It does not return.
func (a App[C]) Serve() {
	run(&adapter{
		name: a.Name, version: a.Version,
		config: func() any { return new(C) },
		make:   func(config any) (pagi.App, error) { return a.New(config.(*C)) },
	})
}

// linger is how long a plugin goes on without a gateway. On Linux the kernel ends it with its gateway.
const linger = 30 * time.Second

// run serves an adapter until the gateway ends the plugin.
func run(a *adapter) {
	a.setDefaults()
	if os.Getenv(control.Handshake.MagicCookieKey) != control.Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is a plugin of pagi-bridge, which the gateway starts. To check it: pagi-bridge plugin verify %s\n", a.name, os.Args[0])
		os.Exit(2)
	}
	server := &control.Server{Adapter: a}
	a.server = server
	slog.SetDefault(server.Book.Logger(""))
	go func() {
		if server.Orphaned(context.Background(), linger) {
			fmt.Fprintln(os.Stderr, "the gateway has gone")
			os.Exit(1)
		}
	}()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: control.Handshake, VersionedPlugins: control.Versioned(server), Logger: hclog.NewNullLogger(),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(control.MaxMessage), grpc.MaxSendMsgSize(control.MaxMessage))...)
		},
	})
	os.Exit(0)
}

// setDefaults names a plugin without a name after its program.
func (a *adapter) setDefaults() {
	if a.name == "" {
		a.name = filepath.Base(os.Args[0])
	}
	if a.version == "" {
		if info, ok := debug.ReadBuildInfo(); ok {
			a.version = info.Main.Version
		}
	}
}
