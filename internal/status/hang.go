package status

import "time"

// Hang describes where a process was that was ended because it took too long.
type Hang struct {
	At  time.Time `json:"at"`
	PID int       `json:"pid"`
	// Reason says which limit it has passed.
	Reason string `json:"reason,omitempty"`
	// Script is the script that it ran, in a mount of CGI.
	Script string `json:"script,omitempty"`
	// Request is what it worked on; of several the oldest.
	Request *Request `json:"request,omitempty"`
	// Perl is its Perl stack, the innermost frame first: "file:line subroutine".
	Perl []string `json:"perl,omitempty"`
	// NoPerl is why there is no Perl stack, where one was asked for.
	NoPerl string `json:"no_perl,omitempty"`
	// Kernel is what the kernel tells; nil where the system does not.
	Kernel *Kernel `json:"kernel,omitempty"`
}

// Kernel describes where a process is, as the kernel sees it. What the kernel does not tell this user is "".
type Kernel struct {
	// State is one letter and a word: "S (sleeping)".
	State string `json:"state"`
	// Syscall is the system call that it waits in, with the file: "read(fd 7: socket tcp 127.0.0.1:3306)".
	Syscall string `json:"syscall,omitempty"`
	// Wchan is the function of the kernel that it waits in.
	Wchan string `json:"wchan,omitempty"`
	// Stack is its stack in the kernel, the innermost function first. Only root sees it.
	Stack []string `json:"stack,omitempty"`
}
