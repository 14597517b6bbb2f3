//go:build unix

package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Resident returns how much memory of a process is in use, in bytes: its resident set, as /proc tells it. Where there is
// no /proc it is an error.
func Resident(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, fmt.Errorf("the memory of a process: %w", err)
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, errors.New("the memory of a process: /proc/PID/statm has no second field")
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the memory of a process: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}
