package pool

import (
	"context"
	"os/exec"
)

// source is where the workers of one generation come from. The first generation
// begins with Start, the next ones with Reload; a worker is of the generation of
// the source it came from, whatever has happened since.
type source struct {
	generation int
	start      func(Setup) (*exec.Cmd, []byte, error)
}

// newSource makes the source of a generation. Every worker loads the application
// itself, so there is nothing to prepare and nothing that could fail.
func (p *Pool) newSource(_ context.Context, generation int) (*source, error) {
	return &source{generation: generation, start: p.opt.Start}, nil
}
