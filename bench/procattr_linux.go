package main

import "syscall"

// procAttr gives a process a group of its own, and ends it when this process ends.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
