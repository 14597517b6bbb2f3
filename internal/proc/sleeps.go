//go:build unix

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Sleeps returns how often the main thread of a process has given up its processor to wait for something: its voluntary
// context switches, as /proc tells them. Where there is no /proc it is an error.
func Sleeps(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("the context switches of a process: %w", err)
	}
	_, rest, found := bytes.Cut(text, []byte("\nvoluntary_ctxt_switches:"))
	number, _, _ := bytes.Cut(rest, []byte("\n"))
	if !found {
		return 0, errors.New("the context switches of a process: /proc/PID/status does not tell them")
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(number)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the context switches of a process: %w", err)
	}
	return n, nil
}
