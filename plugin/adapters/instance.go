package adapters

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/plugin/adapter"
	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// instance is an adapter's process that runs.
type instance struct {
	process *process
	client  *goplugin.Client
	rpc     adapterpb.AdapterClient
	plan    *confine.Plan
	pid     int
	uid     int // of the adapter
	address string
	dir     string // its directory for temporary files, in which it has its sockets
	given   string // the directory for files that the gateway gives it, "" for any
	version string
	since   time.Time

	kill    func()        // ends the process at once
	ended   chan struct{} // closed when the process has ended
	exit    string        // how; valid after ended
	closing sync.Once
}

// state is what the next gateway needs.
func (i *instance) state() State {
	return State{Identity: i.process.identity, PID: i.pid, UID: i.uid, Address: i.address, Dir: i.dir, Confined: i.plan.State()}
}

// launch starts an adapter's process. After an error nothing of it is left.
func launch(ctx context.Context, p *process) (_ *instance, err error) {
	a := p.adapters
	settings, err := json.Marshal(adapter.Settings{
		Name: p.name(), Identity: p.identity, Version: a.opt.Version, Linger: int(a.opt.Linger / time.Second), Gateway: os.Geteuid(),
		Debug: a.opt.Logger.Enabled(ctx, slog.LevelDebug),
	})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(a.opt.Program, adapter.Command, string(settings))
	cmd.Args[0] = "pagi-bridge"
	cmd.Stderr = os.Stderr // what the Go runtime has to say must not depend on this gateway
	if p.isolation.AsksNothing() {
		cmd.Env = os.Environ()
	}
	plan, err := p.isolation.Prepare(cmd, p.needs)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, plan.Close())
		}
	}()
	uid := os.Geteuid()
	if c := cmd.SysProcAttr.Credential; c != nil {
		uid = int(c.Uid)
	}
	i := &instance{process: p, plan: plan, uid: uid, dir: tempDir(cmd.Env), given: plan.GivenDir(), since: time.Now(), ended: make(chan struct{})}
	child := &child{cmd: cmd, ended: make(chan struct{}), check: func(address string) error { return checkOwn(i.dir, address, uid) }}
	if err = a.track(child); err != nil {
		return nil, err
	}
	defer a.launches.Done()
	i.client = goplugin.NewClient(i.config(uid, func(c *goplugin.ClientConfig) {
		c.SkipHostEnv = true
		c.StartTimeout = a.opt.StartTime + control.GreetingSlack
		c.RunnerFunc = func(_ hclog.Logger, made *exec.Cmd, dir string) (runner.Runner, error) {
			child.setEnv(made.Env)
			return child, os.Remove(dir) // go-plugin makes it for sockets of the adapter, which has a directory of its own
		}
	}))
	stop := context.AfterFunc(ctx, child.kill)
	defer stop()
	if err = i.connect(ctx); err == nil {
		i.pid = child.pid()
		err = plan.Started(i.pid)
	}
	if err != nil {
		child.kill()
		a.forget(child)
		i.client.Kill()
		if control.Expired(ctx, err) {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	i.kill = child.kill
	go func() {
		<-child.ended
		a.forget(child)
		i.exit = plan.Ended(child.exit)
		close(i.ended)
	}()
	for _, line := range plan.Missing() {
		p.log.Warn("the system lacks something that isolate asks for", "what", line)
	}
	p.log.Info("the adapter runs", "pid", i.pid, "isolation", plan.Applied())
	return i, nil
}

// tempDir returns the directory for temporary files that a process with an environment uses.
func tempDir(env []string) string {
	dir := ""
	for _, variable := range env {
		if value, is := strings.CutPrefix(variable, "TMPDIR="); is {
			dir = value
		}
	}
	return cmp.Or(dir, "/tmp")
}

// reattach takes an adapter of another gateway over.
func reattach(ctx context.Context, p *process, s State) (*instance, error) {
	if err := control.CheckSocket(s.Address, s.UID); err != nil {
		return nil, err
	}
	handle := proc.Open(s.PID)
	i := &instance{
		process: p, plan: confine.Resume(s.Confined), given: confine.Resume(s.Confined).GivenDir(), uid: s.UID, pid: s.PID, address: s.Address, dir: s.Dir, since: time.Now(), ended: make(chan struct{}),
	}
	i.client = goplugin.NewClient(i.config(s.UID, func(c *goplugin.ClientConfig) {
		c.Plugins = c.VersionedPlugins[control.LeastProtocol]
		c.Reattach = &goplugin.ReattachConfig{
			Protocol: goplugin.ProtocolGRPC, ProtocolVersion: control.LeastProtocol, Pid: s.PID,
			Addr: &net.UnixAddr{Name: s.Address, Net: "unix"},
		}
	}))
	if err := i.connect(ctx); err != nil {
		handle.Close()
		return nil, err // the process may be another gateway's, so it is left alone
	}
	i.kill = func() {
		if !i.hasEnded() {
			proc.Group(i.pid).Signal(syscall.SIGKILL)
		}
	}
	go func() {
		defer handle.Close()
		for !handle.EndsWithin(time.Second) {
		}
		i.exit = i.plan.Ended("how is not known, because another gateway has started it")
		close(i.ended)
	}()
	return i, nil
}

// config is what both ways to get a client have in common.
func (i *instance) config(uid int, complete func(*goplugin.ClientConfig)) *goplugin.ClientConfig {
	c := &goplugin.ClientConfig{
		HandshakeConfig:  control.AdapterHandshake,
		VersionedPlugins: map[int]goplugin.PluginSet{control.LeastProtocol: {control.AdapterService: &control.AdapterSession{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		GRPCDialOptions: []grpc.DialOption{grpc.WithTransportCredentials(control.Peers{Check: func(peer proc.Peer) error {
			if peer.UID != uid || i.pid != 0 && peer.PID != i.pid {
				return fmt.Errorf("the adapter's socket belongs to the process %d of the user %d", peer.PID, peer.UID)
			}
			return nil
		}})},
	}
	complete(c)
	return c
}

// connect connects to the adapter, and checks that it is the right one.
func (i *instance) connect(ctx context.Context) error {
	connected := make(chan error, 1)
	go func() { connected <- i.dial() }()
	select {
	case err := <-connected:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		<-connected // an adapter that is being started is killed then
		return context.Cause(ctx)
	}
	d, err := i.rpc.Describe(ctx, &adapterpb.DescribeRequest{LeastProtocol: control.LeastProtocol, MostProtocol: control.MostProtocol})
	if err != nil {
		return control.Words(err)
	}
	if _, err := control.Agree(d.LeastProtocol, d.MostProtocol); err != nil {
		return err
	}
	if d.Identity != i.process.identity {
		return errors.New("it is the adapter of other mounts")
	}
	i.version = control.Clean(d.Version, 80)
	return nil
}

func (i *instance) dial() error {
	session, err := i.client.Client()
	if err != nil {
		return err
	}
	rpc, err := session.Dispense(control.AdapterService)
	if err != nil {
		return err
	}
	i.rpc = rpc.(adapterpb.AdapterClient)
	if config := i.client.ReattachConfig(); config != nil {
		i.address = config.Addr.String()
	}
	return nil
}

// deathTime is how long the end of a process may take to be seen once its connection has ended.
const deathTime = 500 * time.Millisecond

// endsWithin reports whether the process ends within d.
func (i *instance) endsWithin(d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-i.ended:
		return true
	case <-late.C:
		return false
	}
}

// hasEnded reports whether the process has ended.
func (i *instance) hasEnded() bool {
	select {
	case <-i.ended:
		return true
	default:
		return false
	}
}

// endsSoon reports whether the process has ended, or does so while the end of its connection is the only sign yet.
func (i *instance) endsSoon() bool {
	late := time.NewTimer(endTime)
	defer late.Stop()
	select {
	case <-i.ended:
		return true
	case <-late.C:
		return false
	}
}

// leave ends the process, which has no mounts of this gateway any more, unless another gateway uses it.
func (i *instance) leave(ctx context.Context) error {
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(grace(ctx), time.Second))
	defer cancel()
	_, err := i.rpc.Leave(patience, &adapterpb.LeaveRequest{})
	if i.process.adapters.isLeaving() {
		return nil // the next gateway has it, or it ends by itself
	}
	late := time.NewTimer(killAfter)
	defer late.Stop()
	select {
	case <-i.ended:
		err = nil
	case <-late.C:
		i.process.log.Warn("the adapter does not end and is killed", "pid", i.pid)
		i.kill()
		<-i.ended
	}
	i.close()
	return control.Words(err)
}

// close frees what belongs to an instance that has ended.
func (i *instance) close() {
	i.closing.Do(func() {
		i.client.Kill() // it has ended: this closes the connection
		if err := i.plan.Close(); err != nil {
			i.process.log.Warn("something of an adapter cannot be removed", "error", err)
		}
	})
}
