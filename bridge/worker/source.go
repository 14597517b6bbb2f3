package worker

import "context"

// source is where the workers of one generation come from. Start begins the first generation, each
// Reload the next one. A worker keeps the generation of the source that it came from.
type source struct {
	generation int
	// zygote forks the workers of a generation that a reload tries; nil without Preload, and for
	// the first one. Once the generation is the group's own, the nursery takes care of the zygote
	// and its successors.
	zygote *zygote
}

// newSource makes the source of a generation, beside the one in use. With Preload its zygote has
// loaded the application when newSource returns. The error says why it could not.
func (g *Group) newSource(ctx context.Context, generation int) (*source, error) {
	src := &source{generation: generation}
	if !g.opt.Preload {
		return src, nil
	}
	var err error
	src.zygote, err = g.startZygote(ctx)
	return src, err
}

// makerLocked returns the maker of the source's workers.
func (src *source) makerLocked(g *Group) maker {
	if src.zygote != nil && src != g.source {
		return src.zygote
	}
	return g.makerLocked()
}

// useSourceLocked makes src the source of all workers that are started from now on.
func (g *Group) useSourceLocked(src *source) {
	if src == g.source {
		return
	}
	g.source = src
	if src.zygote != nil {
		g.nursery.starts.forget()
		g.adoptLocked(src.zygote)
	}
}

// abandonSource drops a source whose workers could not be started.
func (g *Group) abandonSource(src *source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if src != g.source && src.zygote != nil {
		src.zygote.retireLocked()
	}
}
