package worker

import (
	"os"
	"runtime"
)

// processors is what Go has found at the start, before the command changes it: the number that the limits of a container
// leave. The variable GOMAXPROCS is about this process, not about the workers.
var processors = func() int {
	if _, set := os.LookupEnv("GOMAXPROCS"); set {
		return runtime.NumCPU()
	}
	return runtime.GOMAXPROCS(0)
}()

// Processors returns how many processors the workers of this machine can use at one time.
func Processors() int { return processors }
