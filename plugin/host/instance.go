package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// instance is one life of a plugin's process.
//
//	launch: started, greeted, described, configured, serving --stop, retire, kill, or its death--> ended
type instance struct {
	x       *external
	number  int
	code    string // describes its files
	since   time.Time
	dir     *private.Dir
	process *process
	client  *goplugin.Client
	rpc     pluginpb.PluginClient
	about   *pluginpb.DescribeResponse

	ctx      context.Context // of its streams
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	broken   chan error    // capacity 1: why it must be ended
	stopping chan struct{} // closed when it is being stopped on purpose
	stopOnce sync.Once
	gone     sync.Once // ends what belongs to it

	mu        sync.Mutex
	serving   bool // its endpoints are in the set
	endpoints map[string]*endpoint
	reported  status.Backend
	decided   bool       // first has its value, or had it
	first     chan error // capacity 1: whether the first endpoint that was tried can be used
}

func newInstance(x *external, number int) *instance {
	i := &instance{
		x: x, number: number, code: x.opt.Code(), since: time.Now(), broken: make(chan error, 1), stopping: make(chan struct{}),
		endpoints: map[string]*endpoint{}, first: make(chan error, 1),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i
}

// launch starts a process, has it configured and started, and waits until one of its endpoints can be used.
func launch(ctx context.Context, x *external, number int) (*instance, error) {
	i := newInstance(x, number)
	protocol, err := i.meet(ctx)
	if err == nil {
		err = i.introduce(ctx, protocol)
	}
	if err != nil {
		return nil, i.conclude(ctx, err)
	}
	return i, nil
}

// words are the last lines that the process has written.
func (i *instance) words() string {
	if i.process == nil {
		return ""
	}
	return strings.TrimSpace(i.process.words())
}

// reason returns why a start has failed: that of ctx, or how the process has ended, if that explains err.
func (i *instance) reason(ctx context.Context, err error) error {
	var refused *ConfigError
	switch {
	case errors.As(err, &refused):
		return err
	case control.Expired(ctx, err):
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if i.process != nil && i.process.started() != nil {
		select { // a process that is about to end closes its connections first
		case <-i.process.ended:
			return fmt.Errorf("it has ended while it was started (%s): %w", i.process.exit, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}

// begin starts the process and connects to its control plane.
func (i *instance) begin(ctx context.Context) error {
	p := i.x.opt
	path, err := p.program()
	if err != nil {
		return err
	}
	if err := p.verify(path); err != nil {
		return err
	}
	if i.dir, err = private.Make("plugin"); err != nil {
		return fmt.Errorf("make a directory for it: %w", err)
	}
	temp := filepath.Join(i.dir.Path(), "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	spec := proc.Spec{Path: path, Args: append([]string{path}, p.Command[1:]...), Dir: p.Dir, Env: p.environ(temp)}
	i.process = newProcess(spec, i.dir.Path(), p.KillAfter, i.x.said)
	i.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: control.Handshake, VersionedPlugins: control.Versioned(nil), AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS: true, SkipHostEnv: true, StartTimeout: p.StartTimeout + control.GreetingSlack, Logger: hclog.NewNullLogger(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: i.dir.Path()},
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(control.MaxMessage), grpc.MaxCallSendMsgSize(control.MaxMessage))},
		SyncStdout:       &lineWriter{process: i.process}, SyncStderr: &lineWriter{process: i.process},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			i.process.spec.Env = append(i.process.spec.Env, cmd.Env...)
			return i.process, nil
		},
	})
	connected := make(chan error, 1)
	i.tasks.Go(func() { connected <- i.connect() })
	select {
	case err := <-connected:
		return err
	case <-ctx.Done():
		i.process.end(0) // on which connect returns
		<-connected
		return errors.New("it has not greeted")
	}
}

// connect greets the process. It may wait for a process that does not answer; the end of the process ends it.
func (i *instance) connect() error {
	session, err := i.client.Client()
	if err != nil {
		return greetingError(err)
	}
	raw, err := session.Dispense(control.Service)
	if err != nil {
		return err
	}
	i.rpc = raw.(pluginpb.PluginClient)
	return nil
}

// greetingError says what is wrong with a greeting. go-plugin's own text for a program that is no plugin speaks of an
// unrecognized remote plugin message.
func greetingError(err error) error {
	text := err.Error()
	if line, is := strings.CutPrefix(text, "Unrecognized remote plugin message:"); is {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "\n")
		if line == "" || strings.HasPrefix(line, "Failed to read") {
			return errors.New("it has printed no greeting of a plugin")
		}
		return fmt.Errorf("it does not greet as a plugin does, but prints %q; is the protocol %q meant?", control.Clean(line, 200), ProtocolWire)
	}
	return fmt.Errorf("it cannot be greeted: %s", control.Clean(text, 1000))
}

// ConfigError is why a plugin has refused its options.
type ConfigError struct {
	// Fields are what is wrong, with the place in the site file in front where it is known.
	Fields []string
}

func (e *ConfigError) Error() string { return strings.Join(e.Fields, "\n") }

// introduce configures and starts the plugin.
func (i *instance) introduce(ctx context.Context, protocol uint32) error {
	if err := i.configure(ctx, protocol); err != nil {
		return err
	}
	if _, err := i.rpc.Start(ctx, &pluginpb.StartRequest{}); err != nil {
		return fmt.Errorf("its start: %w", control.Words(err))
	}
	i.tasks.Go(i.watchEndpoints)
	i.tasks.Go(i.watchStatus)
	select {
	case err := <-i.first:
		return err
	case err := <-i.broken:
		return err
	case <-i.process.ended:
		return errors.New("it has no endpoint that can be used")
	case <-ctx.Done():
		return errors.New("it has no endpoint that can be used")
	}
}

// mountID names the mount on the control plane. A plugin's process serves one.
const mountID = "1"

func (i *instance) configure(ctx context.Context, protocol uint32) error {
	p := i.x.opt
	config, err := p.configJSON()
	if err != nil {
		return err
	}
	r, err := i.rpc.Configure(ctx, &pluginpb.ConfigureRequest{
		Mounts:    []*pluginpb.Mount{{Id: mountID, Kind: i.about.Kinds[0], Name: p.Name, Options: config}},
		Directory: i.dir.Path(), Environment: p.Environment, Protocol: protocol,
	})
	if err != nil {
		return fmt.Errorf("its options: %w", control.Words(err))
	}
	if len(r.Errors) == 0 {
		return nil
	}
	refused := &ConfigError{}
	for _, e := range r.Errors {
		refused.Fields = append(refused.Fields, p.fieldError(e))
	}
	return refused
}

// fieldError says what is wrong with an option.
func (p *Plugin) fieldError(e *pluginpb.FieldError) string {
	name := "config"
	if e.Field != "" {
		name += "." + control.Clean(e.Field, 200)
	}
	at := ""
	if p.Where != nil {
		at = p.Where(name)
	}
	return at + name + ": " + control.Clean(e.Message, 2000)
}

// fail says that the instance must be ended.
func (i *instance) fail(err error) {
	select {
	case i.broken <- err:
	default:
	}
}

// serve lets scopes go to its endpoints.
func (i *instance) serve() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serving = true
	for _, e := range i.endpoints {
		e.enterLocked()
	}
}

// reload has the plugin load its application anew. known is false if it cannot.
func (i *instance) reload(ctx context.Context) (known bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, i.x.opt.StartTimeout, errors.New("it does not answer in time"))
	defer cancel()
	r, err := i.rpc.Reload(ctx, &pluginpb.ReloadRequest{Mount: mountID})
	switch {
	case control.Missing(err):
		return false, nil
	case err != nil:
		return true, fmt.Errorf("its reload: %w", control.Words(err))
	case r.Error != "":
		return true, errors.New(control.Clean(r.Error, 4096))
	}
	return true, nil
}

// retire takes all endpoints out of the set, waits until they have no scopes, or until hurry is closed, and stops the process.
func (i *instance) retire(hurry <-chan struct{}) {
	i.begun()
	for _, e := range i.list() {
		e.withdraw()
	}
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for i.load() > 0 && !i.process.hasEnded() {
		select {
		case <-look.C:
		case <-hurry:
			return // stop has it in its list
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), i.x.opt.KillAfter)
	defer cancel()
	i.stop(ctx)
}

// begun says that the end of the process is wanted.
func (i *instance) begun() { i.stopOnce.Do(func() { close(i.stopping) }) }

// stop ends the instance: its scopes until the end of ctx, then the process.
func (i *instance) stop(ctx context.Context) {
	i.begun()
	var finishing sync.WaitGroup
	for _, e := range i.list() {
		finishing.Go(func() { e.finish(ctx) })
	}
	finishing.Wait()
	grace := i.x.opt.KillAfter
	if deadline, has := ctx.Deadline(); has {
		grace = max(0, min(grace, time.Until(deadline)))
	}
	stopped, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+time.Second)
	_, err := i.rpc.Stop(stopped, &pluginpb.StopRequest{GraceMs: uint32(grace.Milliseconds())})
	cancel()
	if err != nil && !control.Missing(err) && !i.process.hasEnded() {
		i.x.log.Warn("the plugin does not stop as it should", "error", control.Words(err))
	}
	i.kill()
}

// kill ends the process, gracefully if it goes by itself, and all that belongs to the instance.
func (i *instance) kill() {
	i.gone.Do(func() {
		i.begun()
		i.end()
		i.cancel()
		for _, e := range i.list() {
			e.close()
		}
		i.tasks.Wait()
		if i.dir != nil {
			if err := i.dir.Remove(); err != nil {
				i.x.log.Warn("the directory of a plugin cannot be removed", "error", err)
			}
		}
	})
}

// end ends the process.
func (i *instance) end() {
	if i.client == nil || i.process.started() == nil {
		return
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		i.client.Kill() // which waits for an answer of the process as long as that lives
	}()
	late := time.NewTimer(i.x.opt.KillAfter)
	defer late.Stop()
	select {
	case <-over:
	case <-i.process.ended:
	case <-late.C:
		i.x.log.Warn("the plugin does not exit and is ended", "pid", i.process.ID())
	}
	i.process.end(i.x.opt.KillAfter)
	<-over
}

// list returns the endpoints.
func (i *instance) list() []*endpoint {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := make([]*endpoint, 0, len(i.endpoints))
	for _, e := range i.endpoints {
		list = append(list, e)
	}
	return list
}

// load is how many scopes it has.
func (i *instance) load() (n int) {
	for _, e := range i.list() {
		n += e.load()
	}
	return n
}

// open is how many endpoints can be used.
func (i *instance) open() (n int) {
	for _, e := range i.list() {
		if e.usable() {
			n++
		}
	}
	return n
}
