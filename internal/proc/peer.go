package proc

// Peer is the process at the other end of a Unix socket. Its numbers are those of the time at which it connected.
type Peer struct{ PID, UID int }
