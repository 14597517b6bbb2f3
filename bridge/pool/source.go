package pool

import "context"

// source is where the workers of one generation come from. The first generation
// begins with Start, the next ones with Reload; a worker is of the generation of
// the source it came from, whatever has happened since.
type source struct {
	generation int
	// zygote forks the workers of a generation that a reload tries; nil without
	// Preload, and for the first one. Once the generation is the pool's own the
	// nursery looks after it, and after what comes in its place.
	zygote *zygote
}

// newSource makes the source of a generation, beside the one that is in use: with
// Preload it has loaded the application then. The error says why it cannot.
func (p *Pool) newSource(ctx context.Context, generation int) (*source, error) {
	src := &source{generation: generation}
	if !p.opt.Preload {
		return src, nil
	}
	var err error
	src.zygote, err = p.startZygote(ctx)
	return src, err
}

// makerLocked returns what makes the workers of the source.
func (src *source) makerLocked(p *Pool) maker {
	if src.zygote != nil && src != p.source {
		return src.zygote
	}
	return p.makerLocked()
}

// useSourceLocked makes src the source of all workers that are started from now on.
func (p *Pool) useSourceLocked(src *source) {
	if src == p.source {
		return
	}
	p.source = src
	p.steady = 0 // the new code may be slower
	if src.zygote != nil {
		p.nursery.failures = 0
		p.adoptLocked(src.zygote)
	}
}

// abandonSource lets go of a source that came to nothing.
func (p *Pool) abandonSource(src *source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if src != p.source && src.zygote != nil {
		src.zygote.retireLocked()
	}
}
