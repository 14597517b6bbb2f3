package host_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/host"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// liar is a control.Adapter that does as it is told in the wrong way.
type liar struct {
	server    *control.Server
	directory string
	describe  func() *pluginpb.DescribeResponse
	configure func() []*pluginpb.FieldError
	start     func(l *liar) error
	stop      func()
}

func (l *liar) Describe() *pluginpb.DescribeResponse {
	if l.describe != nil {
		return l.describe()
	}
	return &pluginpb.DescribeResponse{Name: "liar", Version: "1", Kinds: []string{"app"}}
}

func (l *liar) Configure(_ context.Context, r *pluginpb.ConfigureRequest) []*pluginpb.FieldError {
	l.directory = r.Directory
	if l.configure != nil {
		return l.configure()
	}
	return nil
}

func (l *liar) Start(context.Context) error {
	if l.start != nil {
		return l.start(l)
	}
	return nil
}

func (l *liar) Reload(context.Context, string) error { return nil }
func (l *liar) Drain()                               {}
func (l *liar) Status() map[string]status.Backend    { return nil }

func (l *liar) Stop(context.Context) error {
	if l.stop != nil {
		l.stop()
	}
	return nil
}

// run serves the liar.
func (l *liar) run() {
	l.server = &control.Server{Adapter: l}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: control.Handshake, VersionedPlugins: control.Versioned(l.server), Logger: hclog.NewNullLogger(),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server { return grpc.NewServer(options...) },
	})
}

// endpoint returns an endpoint that would be right if something listened there.
func (l *liar) endpoint(name string) *pluginpb.Endpoint {
	return &pluginpb.Endpoint{
		Mount: "1", Id: "1", Generation: 1, Pid: uint32(os.Getpid()), Network: "unix", Address: filepath.Join(l.directory, name),
		Token: strings.Repeat("t", 26), Kind: pluginpb.EndpointKind_ENDPOINT_KIND_SCOPES, State: pluginpb.EndpointState_ENDPOINT_STATE_SERVING,
	}
}

// listening makes the socket "s", and has serve see to its connections.
func (l *liar) listening(serve func(net.Conn)) *pluginpb.Endpoint {
	e := l.endpoint("s")
	socket, err := net.Listen("unix", e.Address)
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return e
}

// names is a Start that names an endpoint.
func names(make func(l *liar) *pluginpb.Endpoint) func() {
	return (&liar{start: func(l *liar) error {
		l.server.Board.Put(make(l))
		return nil
	}}).run
}

// edited is a listening endpoint with a change.
func edited(change func(e *pluginpb.Endpoint)) func() {
	return names(func(l *liar) *pluginpb.Endpoint {
		e := l.listening(func(net.Conn) {})
		change(e)
		return e
	})
}

// greeted answers HELLO and READY, and has next do the rest.
func greeted(next func(conn net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := wire.NewReader(conn, nil).Next(); err != nil {
			return
		}
		b := wire.AppendWelcome(nil, wire.WelcomePayload{Version: 3, Offer: wire.Offer{Features: wire.FeatureScopes}})
		_, _ = conn.Write(wire.AppendFrame(b, wire.Ready, 0, 0, nil))
		next(conn)
	}
}

func sleepForever() {
	signal.Ignore(syscall.SIGTERM)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	<-c
}

// hello prints a greeting for an address, as go-plugin does.
func hello(network, address string) { fmt.Printf("1|1|%s|%s|grpc|\n", network, address) }

// raw listens as go-plugin would, greets, and has serve see to the connection.
func raw(serve func(net.Conn)) {
	socket, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "c"))
	if err != nil {
		panic(err)
	}
	hello("unix", socket.Addr().String())
	for {
		conn, err := socket.Accept()
		if err != nil {
			return
		}
		go serve(conn)
	}
}

func exits() { os.Exit(4) }

// lies are plugins that do not start, by mode.
var lies = map[string]func(){
	"silent":         sleepForever,
	"no plugin":      func() { fmt.Println("usage: not a plugin") },
	"ends":           func() { fmt.Fprintln(os.Stderr, "libfoo.so is missing"); exits() },
	"tcp":            func() { hello("tcp", "127.0.0.1:1"); sleepForever() },
	"elsewhere":      func() { hello("unix", "/run/dbus/system_bus_socket"); sleepForever() },
	"no answer":      func() { raw(func(net.Conn) {}) },
	"garbage":        func() { raw(func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n garbage")); c.Close() }) },
	"never says":     (&liar{describe: func() *pluginpb.DescribeResponse { sleepForever(); return nil }}).run,
	"too much":       (&liar{describe: func() *pluginpb.DescribeResponse { return &pluginpb.DescribeResponse{Name: strings.Repeat("x", 5<<20)} }}).run,
	"dies configure": (&liar{configure: func() []*pluginpb.FieldError { exits(); return nil }}).run,
	"fails start":    (&liar{start: func(*liar) error { return fmt.Errorf("the database is away") }}).run,
	"no endpoint":    (&liar{}).run,
	"outside":        edited(func(e *pluginpb.Endpoint) { e.Address = "/etc/passwd" }),
	"other pid":      edited(func(e *pluginpb.Endpoint) { e.Pid = 1 }),
	"missing":        names(func(l *liar) *pluginpb.Endpoint { return l.endpoint("none") }),
	"file": names(func(l *liar) *pluginpb.Endpoint {
		e := l.endpoint("f")
		_ = os.WriteFile(e.Address, nil, 0o600)
		return e
	}),
	"link": names(func(l *liar) *pluginpb.Endpoint {
		e := l.endpoint("l")
		_ = os.Symlink(l.listening(func(net.Conn) {}).Address, e.Address)
		return e
	}),
	"other process": names(func(l *liar) *pluginpb.Endpoint {
		e := l.endpoint("s")
		cmd := exec.Command(os.Args[0], e.Address)
		cmd.Env = []string{modeVariable + "=listen"}
		out, _ := cmd.StdoutPipe()
		_ = cmd.Start()
		_, _ = out.Read(make([]byte, 1)) // it listens
		return e
	}),
	"listen": func() {
		_, _ = net.Listen("unix", os.Args[1])
		fmt.Println("listening")
		sleepForever()
	},
	"closes": names(func(l *liar) *pluginpb.Endpoint { return l.listening(func(c net.Conn) { c.Close() }) }),
	"wire garbage": names(func(l *liar) *pluginpb.Endpoint {
		return l.listening(func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	}),
	"never ready": names(func(l *liar) *pluginpb.Endpoint {
		return l.listening(func(c net.Conn) {
			_, _ = mux.Answer(c, wire.Offer{Features: wire.FeatureScopes}, wire.FeatureScopes, nil)
		})
	}),
	"failed": names(func(l *liar) *pluginpb.Endpoint {
		return l.listening(func(c net.Conn) {
			_, _ = mux.Answer(c, wire.Offer{Features: wire.FeatureScopes}, wire.FeatureScopes, nil)
			_, _ = c.Write(wire.AppendFrame(nil, wire.Failed, 0, 0, []byte("app.rb:3: no such class")))
		})
	}),
	"garbage later": names(func(l *liar) *pluginpb.Endpoint {
		return l.listening(greeted(func(c net.Conn) { _, _ = c.Write([]byte(strings.Repeat("garbage ", 1000))) }))
	}),
	"serves, then garbage": names(func(l *liar) *pluginpb.Endpoint { return l.listening(serving(l, "garbage")) }),
	"serves, then closes":  names(func(l *liar) *pluginpb.Endpoint { return l.listening(serving(l, "closes")) }),
	"serves, then lies":    names(func(l *liar) *pluginpb.Endpoint { return l.listening(serving(l, "lies")) }),
	"serves, then floods":  names(func(l *liar) *pluginpb.Endpoint { return l.listening(serving(l, "floods")) }),
	"does not stop": (&liar{stop: sleepForever, start: func(l *liar) error {
		l.server.Board.Put(l.listening(serving(l, "")))
		return nil
	}}).run,
}

// serving serves /pid, and does what when another path is asked for.
func serving(l *liar, what string) func(net.Conn) {
	return func(conn net.Conn) {
		line, err := mux.Answer(conn, wire.Offer{Features: wire.FeatureScopes | wire.FeaturePing}, wire.FeatureScopes, nil)
		if err != nil {
			return
		}
		app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			switch {
			case scope.Type == pagi.TypeLifespan:
				return pagi.Unsupported(scope)
			case scope.Path == "/pid":
				return (&sample{config: &sampleConfig{}}).http(ctx, scope, receive, send)
			case what == "garbage":
				_, _ = conn.Write([]byte(strings.Repeat("garbage ", 1000)))
			case what == "closes":
				conn.Close()
			case what == "lies":
				e := l.endpoint("none")
				e.Id = "2"
				l.server.Board.Put(e)
				return (&sample{config: &sampleConfig{}}).http(ctx, scope, receive, send)
			case what == "floods":
				for n := range 100_000 {
					l.server.Book.Logger("1").Info("a record of a flood", "n", n)
				}
				return (&sample{config: &sampleConfig{}}).http(ctx, scope, receive, send)
			}
			<-ctx.Done()
			return nil
		})
		_ = mux.NewWorker(line, app, mux.WorkerOptions{}).Run(context.Background()) // ends with the gateway
	}
}

// hasty are the options of a plugin that must be quick.
func hasty(mode string) *host.Plugin {
	p := options(mode)
	p.StartTimeout, p.KillAfter = testkit.Patience/2, 300*time.Millisecond
	return p
}

// lateStart is why a plugin that does not answer is given up.
const lateStart = "it does not serve after 500ms (start_timeout)"

// Whatever a plugin does instead of starting, the start fails in time and says why.
func TestPluginsThatDoNotStart(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"silent":         lateStart,
		"no plugin":      `it does not greet as a plugin does, but prints "usage: not a plugin"`,
		"ends":           "libfoo.so is missing",
		"tcp":            "its control plane is at tcp 127.0.0.1:1, and must be at a Unix socket",
		"elsewhere":      "is not below",
		"no answer":      lateStart,
		"garbage":        "the connection to it has ended",
		"never says":     lateStart,
		"too much":       "it answers with too much",
		"dies configure": "it has ended while it was started (exit status 4)",
		"fails start":    "the database is away",
		"no endpoint":    lateStart,
		"outside":        `its address "/etc/passwd" is not in`,
		"other pid":      "its socket is served by the process",
		"missing":        "its socket: lstat",
		"file":           "is no socket but a regular file",
		"link":           "is no socket but a symbolic link",
		"other process":  "its socket is served by the process",
		"closes":         "no answer to HELLO",
		"wire garbage":   "greet it: ",
		"never ready":    lateStart,
		"failed":         "its application cannot be loaded: app.rb:3: no such class",
		"garbage later":  "it names an endpoint that cannot be used",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			p := hasty(mode)
			if want == lateStart {
				p.StartTimeout = 500 * time.Millisecond
			}
			r, err := try(t, p)
			if err == nil {
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nwant %s\n%s", err, want, r.log)
			}
			if took := time.Since(began); took > testkit.Patience/2 {
				t.Errorf("that takes %v", took)
			}
		})
	}
}

// A plugin that breaks a protocol while it serves is ended and started again.
func TestPluginsThatGoWrong(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"serves, then garbage": "it breaks the wire protocol",
		"serves, then closes":  "it has closed the connection of an endpoint that serves",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := start(t, hasty(mode))
			before := r.Get("/pid").Text()
			if got := statusOf(r.Get("/")); got != 502 {
				t.Errorf("got %d", got)
			}
			r.log.WaitFor(t, "the plugin has ended and is started again", want)
			if r.again() == before {
				t.Error("it was not started again")
			}
		})
	}
}

func TestAnEndpointThatCannotBeUsedIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := start(t, hasty("serves, then lies"))
	before := r.Get("/pid").Text()
	if got := statusOf(r.Get("/")); got != 200 {
		t.Errorf("got %d", got)
	}
	r.log.WaitFor(t, "names an endpoint that cannot be used", "lstat")
	if r.again() != before {
		t.Error("it was started again")
	}
}

func TestAFloodOfRecordsIsCounted(t *testing.T) {
	t.Parallel()
	r := start(t, hasty("serves, then floods"))
	if got := statusOf(r.Get("/")); got != 200 {
		t.Errorf("got %d", got)
	}
	r.log.WaitFor(t, "a record of a flood", "n=0")
	r.stop()
	r.log.WaitFor(t, "records of the plugin were lost")
	if n := strings.Count(r.log.String(), "a record of a flood"); n > 2000 {
		t.Errorf("%d records of the flood are in the log", n)
	}
}

func TestAPluginThatDoesNotStopIsKilled(t *testing.T) {
	t.Parallel()
	r := start(t, hasty("does not stop"))
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > testkit.Patience/2 {
		t.Errorf("that takes %v", took)
	}
	r.log.WaitFor(t, "the plugin does not stop as it should", "does not answer in time")
}

// The children of a plugin are ended with it, and its directory is removed.
func TestNothingIsLeft(t *testing.T) {
	r := start(t, options("kit"))
	var dir string
	for line := range strings.Lines(r.Get("/environment").Text()) {
		if value, is := strings.CutPrefix(line, "TMPDIR="); is {
			dir = filepath.Dir(strings.TrimSpace(value))
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v %v", info, err)
	}
	r.stop()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v", dir, err)
	}
}
