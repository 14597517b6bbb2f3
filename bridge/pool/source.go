package pool

import "context"

// source is where the workers of one generation come from. Start begins the first generation, each
// Reload the next one. A worker keeps the generation of the source that it came from.
type source struct {
	generation int
	// zygote forks the workers of a generation that a reload tries; nil without Preload, and for
	// the first one. Once the generation is the pool's own, the nursery takes care of the zygote
	// and its successors.
	zygote *zygote
}

// newSource makes the source of a generation, beside the one in use. With Preload its zygote has
// loaded the application when newSource returns. The error says why it could not.
func (p *Pool) newSource(ctx context.Context, generation int) (*source, error) {
	src := &source{generation: generation}
	if !p.opt.Preload {
		return src, nil
	}
	var err error
	src.zygote, err = p.startZygote(ctx)
	return src, err
}

// makerLocked returns the maker of the source's workers.
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
	if src.zygote != nil {
		p.nursery.failures = 0
		p.adoptLocked(src.zygote)
	}
}

// abandonSource drops a source whose workers could not be started.
func (p *Pool) abandonSource(src *source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if src != p.source && src.zygote != nil {
		src.zygote.retireLocked()
	}
}
