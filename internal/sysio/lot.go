package sysio

// Parked is what a Lot wakes: once for each time that it was parked.
type Parked interface {
	// Wake is called in the lot's goroutine, or in that of WakeAll, and must not wait.
	Wake()
}
