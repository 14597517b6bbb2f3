//go:build unix && !(linux && (amd64 || arm64 || riscv64))

package cgi

import "context"

const canAccelerate = false

// accelerator is for Linux.
type accelerator struct{}

func newAccelerator(*app) *accelerator { return &accelerator{} }

func (*accelerator) start(context.Context) error { return nil }
func (*accelerator) stop()                       {}

func (*accelerator) process(context.Context, script, []string, [3]int, func()) *process { return nil }
