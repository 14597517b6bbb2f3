//go:build !linux

package apps

import "github.com/pagi-go/pagi-bridge/internal/httpfile"

func (r *openRoot) open(name string) (*httpfile.File, error) { return r.openSlowly(name) }
