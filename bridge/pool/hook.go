package pool

// handOver is a moment in which a request, or its answer, passes from one party to
// another, and Pool.mu has just been released.
type handOver uint8

const (
	// afterMatch: the reader has found the exchange of a frame, and has delivered nothing.
	afterMatch handOver = iota
	// afterDelivery: the frame is delivered, and the duty is still on the list.
	afterDelivery
	// afterAssignment: a worker has been given a request that is not written yet.
	afterAssignment
	// afterTakingBack: requests were taken back, and the worker has not been told.
	afterTakingBack
	// afterAbandoning: the client has given up its answer, but has not emptied the mailbox.
	afterAbandoning
)

// hook is called at every hand-over if Options.hook is set, which only tests do. It plays the
// scheduler, which may stop a goroutine there for any length of time.
type hook func(at handOver, w *station, stream uint32)

func (p *Pool) pause(at handOver, w *station, stream uint32) {
	if p.opt.hook != nil {
		p.opt.hook(at, w, stream)
	}
}
