// Package perl mounts a PSGI application in a Go program.
package perl

import (
	_ "embed"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/pagi"
)

//go:embed app.psgi
var code string

// New returns the application. Its startup starts two workers.
func New() (pagi.App, error) {
	return psgi.PSGI{Code: code, Processes: worker.Processes{Workers: 2}}.Build()
}
