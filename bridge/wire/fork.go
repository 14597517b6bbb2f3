package wire

import "strconv"

// RoleZygote is the role in the HELLO of a zygote.
const RoleZygote = "zygote"

// ForkPayload is the content of a FORK frame: what the zygote tells the worker that it forks.
type ForkPayload struct {
	Token  string
	Worker int    // its number
	Output string // the path of the FIFO that its output goes to
	Listen string // the path at which it listens for gateways; "" for a worker that does not
}

// AppendFork appends a FORK frame.
func AppendFork(b []byte, f ForkPayload) []byte {
	pairs := []string{"token", f.Token, "worker", strconv.Itoa(f.Worker), "output", f.Output}
	if f.Listen != "" {
		pairs = append(pairs, "listen", f.Listen)
	}
	return AppendFrame(b, Fork, 0, 0, AppendPairs(nil, pairs...))
}

// ForkedPayload is the content of a FORKED frame.
type ForkedPayload struct {
	// PID is the new worker's; 0 when it could not be forked.
	PID   uint32
	Token string
	// Error says why it could not be forked.
	Error string
}

// DecodeForked decodes a FORKED frame.
func DecodeForked(p []byte) (ForkedPayload, error) {
	d := decoder{p: p}
	f := ForkedPayload{PID: d.uint32()}
	f.Token = string(d.take(int(d.uint32())))
	f.Error = string(d.p)
	return f, d.err(Forked)
}

// DecodeExited decodes an EXITED frame: the pid of a process that has ended, and its status as
// waitpid gives it. The lowest seven bits are the signal, 0x80 marks a core dump, and the bits
// above are the exit code.
func DecodeExited(p []byte) (pid, status uint32, err error) {
	d := decoder{p: p}
	pid, status = d.uint32(), d.uint32()
	return pid, status, d.err(Exited)
}
