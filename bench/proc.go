package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of /proc/stat; Linux shows programs 100 of them a second.
const tick = 10 * time.Millisecond

// busyTime returns how long all CPUs together have worked since the machine was started.
func busyTime() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var busy time.Duration
	for i, field := range fields[1:8] { // user nice system idle iowait irq softirq
		if i == 3 || i == 4 {
			continue
		}
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += time.Duration(ticks) * tick
	}
	return busy, nil
}

// ownTime returns how long processes and those below them have worked, the ones included that have ended and were waited for.
func ownTime(processes []*exec.Cmd) (sum time.Duration, err error) {
	for _, cmd := range processes {
		pid := cmd.Process.Pid
		below, err := descendants(pid)
		if err != nil {
			return 0, err
		}
		for _, pid := range append(below, pid) {
			fields, err := statFields(pid)
			if hasEnded(err) {
				continue
			}
			if err != nil {
				return 0, err
			}
			for _, field := range fields[11:15] { // utime stime cutime cstime
				ticks, err := strconv.ParseInt(field, 10, 64)
				if err != nil {
					return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
				}
				sum += time.Duration(ticks) * tick
			}
		}
	}
	return sum, nil
}

// hasEnded reports whether an error of reading a file in /proc says that the process has ended.
func hasEnded(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// statFields returns what /proc/PID/stat has behind the process's name, which is in parentheses and may hold anything.
func statFields(pid int) ([]string, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	stat, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("%s holds %q", file, stat)
	}
	return fields, nil
}

// descendants returns the processes below one, in no order.
func descendants(pid int) (list []int, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		fields, err := statFields(child)
		if hasEnded(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		children[parent] = append(children[parent], child)
	}
	for next := children[pid]; len(next) > 0; {
		list = append(list, next[0])
		next = append(next[1:], children[next[0]]...)
	}
	return list, nil
}

// workersOf returns the worker processes of the gateway that serve requests. They have set their
// name to that of a worker, and have no children. A process with children is a zygote.
func workersOf(gateway int) (list []int, err error) {
	all, err := descendants(gateway)
	for _, pid := range all {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.HasPrefix(cmdline, []byte("pagi-worker ")) {
			continue // it has ended, or is not a worker
		}
		if children, err := descendants(pid); err == nil && len(children) == 0 {
			list = append(list, pid)
		}
	}
	slices.Sort(list)
	return list, err
}

// kilobytes returns a value of a file in /proc that has lines like "Pss:  120 kB",
// in bytes.
func kilobytes(pid int, file, name string) (int64, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(content) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == name+":" {
			kb, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", name, path)
}
