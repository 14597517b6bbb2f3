//go:build unix && !(linux && (amd64 || arm64 || riscv64))

package cgi

const (
	canAccelerate = false
	controlFD     = 0 // there is none
)

// accelerator is for Linux.
type accelerator struct{}

func newAccelerator(*app) *accelerator { return &accelerator{} }

func (*accelerator) start() error { return nil }
func (*accelerator) stop()        {}

func (*accelerator) process(*run, command) *process { return nil }
