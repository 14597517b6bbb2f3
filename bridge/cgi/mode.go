//go:build unix

package cgi

import "github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"

// The values of the option mode.
const (
	ModeAuto       = perlfork.ModeAuto
	ModeExec       = perlfork.ModeExec
	ModeFork       = perlfork.ModeFork
	ModePersistent = perlfork.ModePersistent
)
