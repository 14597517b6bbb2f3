package control

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// Adapter is what a plugin does for its gateway. A Server calls Configure, Start and Stop one at a time, and Start and Stop
// once. The other methods may be called at any time after Configure. What an adapter has to tell goes to the Board and the
// Logbook of its Server.
type Adapter interface {
	// Describe tells what the plugin is. The Server adds the versions of the protocol.
	Describe() *pluginpb.DescribeResponse
	// Configure checks mounts and their options, and keeps them for Start.
	Configure(ctx context.Context, r *pluginpb.ConfigureRequest) []*pluginpb.FieldError
	// Start starts what serves the mounts, and puts its endpoints on the board.
	Start(ctx context.Context) error
	// Reload loads the application of a mount anew.
	Reload(ctx context.Context, mount string) error
	// Drain says that no new work comes.
	Drain()
	// Stop ends what serves the mounts, at the end of ctx without regard for what it has.
	Stop(ctx context.Context) error
	// Status tells of the mounts, by their ids.
	Status() map[string]status.Backend
}

// Resizer is an Adapter whose mounts have workers that can become more or fewer.
type Resizer interface {
	// Resize changes the number of workers of a mount, and returns the new number.
	Resize(ctx context.Context, mount string, change int) (workers int, err error)
}

// Releaser is an Adapter whose endpoints can be relieved.
type Releaser interface {
	// Release says that an endpoint that was relieved has no work any more.
	Release(ctx context.Context, mount, endpoint string) error
}
