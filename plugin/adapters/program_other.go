//go:build !linux

package adapters

import "os"

// ownProgram is this process's own program.
var ownProgram = os.Args[0]
