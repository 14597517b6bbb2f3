//go:build unix && !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package private

import "os"

// canLock is false where the system does not tell which directories are in use.
const canLock = false

// lockDirectory only opens the directory.
func lockDirectory(path string) (*os.File, error) { return os.Open(path) }
