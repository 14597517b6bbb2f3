package hung

import (
	"fmt"
	"strings"
)

// Signal is the choice of a signal by which a Perl process is asked for its stack at once.
type Signal string

const (
	// DefaultSignal is used where none is chosen.
	DefaultSignal Signal = "ILL"
	// NoSignal stands for none: only the kernel is asked.
	NoSignal Signal = "off"
)

// Check reports a signal that cannot be used. Perl runs the handlers of these alone at once.
func (s Signal) Check() error {
	switch s {
	case "", DefaultSignal, "FPE", "BUS", NoSignal:
		return nil
	}
	return fmt.Errorf("must be ILL, FPE, BUS or off, is %q", string(s))
}

// withDefault returns the signal, DefaultSignal where none is chosen.
func (s Signal) withDefault() Signal {
	if s == "" {
		return DefaultSignal
	}
	return s
}

// Configuration is what the Perl runtime is told: the name of the signal, and the number of the system call by which its
// handler is made not to break off other calls. It is "" where the runtime has nothing to do.
func (s Signal) Configuration() string {
	if s = s.withDefault(); s == NoSignal || sigaction == 0 {
		return ""
	}
	return strings.Join([]string{string(s), fmt.Sprint(sigaction)}, " ")
}
