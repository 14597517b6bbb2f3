package hung

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// sigaction is the number by which the Perl runtime changes the flags of a handler.
const sigaction = unix.SYS_RT_SIGACTION

// gentleSignal is the signal of the handler that runs between two steps of the Perl program: NUM60 in Perl. It is one of the
// last real-time signals. The C library uses the first ones.
const gentleSignal = syscall.Signal(60)

// numbers returns the signals of the two handlers, 0 for none.
func numbers(s Signal) (gentle, hard syscall.Signal) {
	switch s.withDefault() {
	case "ILL":
		return gentleSignal, syscall.SIGILL
	case "FPE":
		return gentleSignal, syscall.SIGFPE
	case "BUS":
		return gentleSignal, syscall.SIGBUS
	}
	return 0, 0
}

// dispositions say which signals a process has handlers for, and which it lets through.
type dispositions struct{ handled, blocked uint64 }

// caught reports whether a signal would run a handler. Any other one could end the process.
func (d dispositions) caught(s syscall.Signal) bool {
	bit := uint64(1) << (s - 1)
	return s > 0 && d.handled&bit != 0 && d.blocked&bit == 0
}

// mostStack is how many lines of the kernel's stack are kept.
const mostStack = 20

// lookTime is how long the kernel may take to tell of a process. It tells nothing of one that is in the middle of execve, until
// that is over.
const lookTime = 100 * time.Millisecond

// Look returns what the kernel tells of a process: its main thread, where it has several. What it does not tell this user is
// left out; nil: there is no such process, or the kernel has not told within 100 ms.
func Look(pid int) *status.Kernel {
	k, _ := look(pid)
	return k
}

// look is Look, with the process's signals. Its goroutine ends when the kernel has told.
func look(pid int) (*status.Kernel, dispositions) {
	type told struct {
		k *status.Kernel
		d dispositions
	}
	done := make(chan told, 1)
	go func() {
		k, d := read(pid)
		done <- told{k, d}
	}()
	late := time.NewTimer(lookTime)
	defer late.Stop()
	select {
	case t := <-done:
		return t.k, t.d
	case <-late.C:
		return nil, dispositions{}
	}
}

// read reads what is in /proc of a process.
func read(pid int) (*status.Kernel, dispositions) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	text, err := os.ReadFile(dir + "status")
	if err != nil {
		return nil, dispositions{}
	}
	k, d := parseStatus(text)
	if text, err := os.ReadFile(dir + "wchan"); err == nil && string(text) != "0" {
		k.Wchan = printable(string(text))
	}
	if text, err := os.ReadFile(dir + "syscall"); err == nil {
		k.Syscall = describeCall(pid, string(text))
	}
	if text, err := os.ReadFile(dir + "stack"); err == nil { // root's
		k.Stack = parseStack(string(text))
	}
	return k, d
}

// parseStatus reads /proc/PID/status.
func parseStatus(text []byte) (*status.Kernel, dispositions) {
	var k status.Kernel
	var d dispositions
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "State":
			k.State = value
		case "SigCgt":
			d.handled, _ = strconv.ParseUint(value, 16, 64) // 0: no signal is sent
		case "SigBlk":
			if blocked, err := strconv.ParseUint(value, 16, 64); err == nil {
				d.blocked = blocked
			} else {
				d.blocked = ^uint64(0)
			}
		}
	}
	return &k, d
}

// parseStack reads /proc/PID/stack: lines like "[<0>] do_select+0x6b2/0x820".
func parseStack(text string) (frames []string) {
	for line := range strings.Lines(text) {
		_, line, found := strings.Cut(strings.TrimSpace(line), "] ")
		if line, _, _ = strings.Cut(line, "+0x"); found && line != "" && len(frames) < mostStack {
			frames = append(frames, printable(line))
		}
	}
	return frames
}

// describeCall reads /proc/PID/syscall: "0 0x5 ..." with the number of the call and six arguments, "running", or "-1" and two
// addresses for a process that is in the kernel without a call.
func describeCall(pid int, text string) string {
	fields := strings.Fields(text)
	if len(fields) == 0 || fields[0] == "-1" {
		return ""
	}
	if fields[0] == "running" {
		return noCall
	}
	number, err := strconv.Atoi(fields[0])
	if err != nil {
		return ""
	}
	c, known := calls[number]
	if !known {
		return "number " + fields[0]
	}
	if c.files == 0 || len(fields) < 2 {
		return c.name
	}
	fd, err := strconv.ParseUint(strings.TrimPrefix(fields[1], "0x"), 16, 64)
	if err != nil || int32(fd) < 0 {
		return c.name
	}
	return fmt.Sprintf("%s(fd %d: %s)", c.name, int32(fd), describeFile(pid, int(int32(fd))))
}

// describeFile says what a descriptor of a process leads to.
func describeFile(pid, fd int) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		return "unknown"
	}
	inode, is := strings.CutPrefix(target, "socket:[")
	if !is {
		return printable(target)
	}
	inode = strings.TrimSuffix(inode, "]")
	for _, family := range []string{"tcp", "tcp6", "udp", "udp6"} {
		if peer := inetPeer(fmt.Sprintf("/proc/%d/net/%s", pid, family), inode); peer != "" {
			return "socket " + strings.TrimSuffix(family, "6") + " " + peer
		}
	}
	if path := unixPath(fmt.Sprintf("/proc/%d/net/unix", pid), inode); path != "" {
		return "socket unix " + path
	}
	return "socket"
}

// mostSockets is how many lines of a list of sockets are looked at. A machine with more keeps the peer to itself.
const mostSockets = 5000

// find returns the fields of the line that has an inode in a place, counted from 0.
func find(list, inode string, place int) (fields []string) {
	f, err := os.Open(list)
	if err != nil {
		return nil
	}
	defer f.Close() // it was only read
	lines := bufio.NewScanner(f)
	for n := 0; n < mostSockets && lines.Scan(); n++ {
		if !strings.Contains(lines.Text(), inode) {
			continue
		}
		if fields = strings.Fields(lines.Text()); len(fields) > place && fields[place] == inode {
			return fields
		}
	}
	return nil
}

// inetPeer returns the other end of a TCP or UDP socket, or, where it has none, that it listens; "" if the list does not have
// the socket.
func inetPeer(list, inode string) string {
	fields := find(list, inode, 9)
	if fields == nil {
		return ""
	}
	own, peer := parseAddress(fields[1]), parseAddress(fields[2])
	if !peer.IsValid() || peer.Port() == 0 {
		return "at " + own.String()
	}
	return peer.String()
}

// parseAddress reads "0100007F:0CEA": an address in the machine's byte order, in words of four bytes, and a port.
func parseAddress(text string) netip.AddrPort {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	number, wrong := strconv.ParseUint(port, 16, 16)
	if err != nil || wrong != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	if littleEndian {
		for word := range slices.Chunk(b, 4) {
			slices.Reverse(word)
		}
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(number))
}

// unixPath returns the path of a Unix socket; "" if it has none. The list does not tell the other end.
func unixPath(list, inode string) string {
	if fields := find(list, inode, 6); len(fields) > 7 {
		return printable(fields[7])
	}
	return ""
}
