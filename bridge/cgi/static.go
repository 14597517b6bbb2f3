//go:build unix

package cgi

import (
	"io"
	"os"
	"path/filepath"

	reasons "github.com/pagi-go/pagi-bridge/internal/refusal"
)

// Values of the Static option.
const (
	StaticRefuse = "refuse"
	StaticServe  = "serve"
)

// interpreter returns the program for a file by its extension, "" for none.
func (a *app) interpreter(file string) string { return a.Interpreters[filepath.Ext(file)] }

func (a *app) acceptsPathInfo() bool { return a.PathInfo == nil || *a.PathInfo }

// beginsLikeAScript reports whether a file begins with "#!", or cannot be read: a
// script that lost its execute bit must not show its source.
func (a *app) beginsLikeAScript(root *os.Root, rel string) bool {
	f, err := root.Open(rel)
	if err != nil {
		target, why := reasons.Follow(a.FollowSymlinks, a.Root, rel)
		if why != nil {
			return true
		}
		if f, err = os.Open(target); err != nil {
			return true
		}
	}
	defer f.Close() // opened for reading
	var first [2]byte
	n, _ := io.ReadFull(f, first[:]) // a shorter file is none
	return string(first[:n]) == "#!"
}
