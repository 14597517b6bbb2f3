package wire

import "strconv"

// RoleZygote is what a zygote's HELLO gives for its role.
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
	// Error says why it could not be.
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

// DecodeExited decodes an EXITED frame: a process that has ended, and its status as
// POSIX's waitpid gives it on every system there is: the signal in the lowest seven
// bits, 0x80 for a core dump, above them the exit code.
func DecodeExited(p []byte) (pid, status uint32, err error) {
	d := decoder{p: p}
	pid, status = d.uint32(), d.uint32()
	return pid, status, d.err(Exited)
}
