package wire

import "strconv"

// RoleZygote is the role in the HELLO of a zygote.
const RoleZygote = "zygote"

// AppendFork appends a FORK frame: the token and number of the worker that is to be
// forked, and the path of the FIFO its output goes to.
func AppendFork(b []byte, token string, worker int, output string) []byte {
	return AppendFrame(b, Fork, 0, 0, AppendPairs(nil, "token", token, "worker", strconv.Itoa(worker), "output", output))
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
