package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// Description is what a plugin tells about itself.
type Description struct {
	Name          string            `json:"name"`
	Version       string            `json:"version"`
	LeastProtocol int               `json:"least_protocol"`
	MostProtocol  int               `json:"most_protocol"`
	Kinds         []string          `json:"kinds"`
	Options       []Option          `json:"options"`
	About         map[string]string `json:"about,omitempty"`
}

// Option is an option of a plugin's mount.
type Option struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Default  string `json:"default,omitempty"`
	Help     string `json:"help,omitempty"`
	Required bool   `json:"required,omitempty"`
}

// errDescribes is why nothing is known of a plugin that is not started.
var errDescribes = errors.New(`a plugin of the protocol "wire" describes nothing: it reads its options when it starts`)

// Describe starts the plugin, has it describe itself, and ends it. It serves nothing.
func (p *Plugin) Describe(ctx context.Context) (Description, error) {
	var d Description
	err := p.trial(ctx, func(ctx context.Context, i *instance, _ uint32) error {
		d = Description{
			Name: i.about.Name, Version: i.about.Version, LeastProtocol: int(i.about.LeastProtocol), MostProtocol: int(i.about.MostProtocol),
			About: map[string]string{},
		}
		for _, kind := range i.about.Kinds {
			d.Kinds = append(d.Kinds, control.Clean(kind, 80))
		}
		for _, f := range i.about.Config {
			d.Options = append(d.Options, Option{control.Clean(f.Name, 200), control.Clean(f.Type, 80), control.Clean(f.Default, 200), control.Clean(f.Help, 1000), f.Required})
		}
		for name, value := range i.about.About {
			d.About[control.Clean(name, 80)] = control.Clean(value, 200)
		}
		return nil
	})
	return d, err
}

// CheckConfig starts the plugin, has it check Config, and ends it. It serves nothing. An error may be a *ConfigError. For a
// plugin of the protocol "wire" it does nothing, because such a plugin checks its options when it serves.
func (p *Plugin) CheckConfig(ctx context.Context) error {
	err := p.trial(ctx, func(ctx context.Context, i *instance, protocol uint32) error { return i.configure(ctx, protocol) })
	if errors.Is(err, errDescribes) {
		return nil
	}
	return err
}

// trial starts the plugin up to its description, and calls f.
func (p *Plugin) trial(ctx context.Context, f func(context.Context, *instance, uint32) error) error {
	if p.Protocol == ProtocolWire {
		return errDescribes
	}
	if p.Logger == nil {
		p.Logger = slog.Default()
	}
	option.SetDefaults(p)
	ctx, cancel := context.WithTimeoutCause(ctx, p.StartTimeout, fmt.Errorf("it does not answer after %v (start_timeout)", p.StartTimeout))
	defer cancel()
	i := newInstance(newExternal(p), 1)
	protocol, err := i.meet(ctx)
	if err == nil {
		err = f(ctx, i, protocol)
	}
	return i.conclude(ctx, err)
}

// meet starts the process and has it describe itself.
func (i *instance) meet(ctx context.Context) (protocol uint32, err error) {
	if err := i.begin(ctx); err != nil {
		return 0, err
	}
	d, err := i.rpc.Describe(ctx, &pluginpb.DescribeRequest{LeastProtocol: control.LeastProtocol, MostProtocol: control.MostProtocol})
	if err != nil {
		return 0, fmt.Errorf("its description: %w", control.Words(err))
	}
	if protocol, err = control.CheckDescription(d); err != nil {
		return 0, err
	}
	i.about = d
	i.tasks.Go(i.logs)
	return protocol, nil
}

// conclude ends the process, and completes the error with which its start has failed.
func (i *instance) conclude(ctx context.Context, err error) error {
	if err != nil {
		err = i.reason(ctx, err)
	}
	i.kill()
	if words := i.words(); err != nil && words != "" {
		err = fmt.Errorf("%w; its last output:\n%s", err, words)
	}
	return err
}
