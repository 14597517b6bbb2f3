//go:build unix && !(linux && (amd64 || arm64 || riscv64))

package perlfork

import (
	"context"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
)

// canFork says whether scripts can be compiled once on this system.
const canFork = false

// Scripts are the Perl scripts of a mount. On this system none is compiled once.
type Scripts struct{}

// New returns the scripts of a mount.
func New(Config) *Scripts { return &Scripts{} }

// Start does nothing.
func (*Scripts) Start() error { return nil }

// Stop does nothing.
func (*Scripts) Stop() {}

// Run returns nil: a new process is to run the script.
func (*Scripts) Run(context.Context, Request) job.Job { return nil }

// Dir returns "".
func (*Scripts) Dir() string { return "" }

// IsPersistent returns false.
func (*Scripts) IsPersistent(string) bool { return false }

// Status returns nothing: no script is compiled.
func (*Scripts) Status() []Status { return nil }
