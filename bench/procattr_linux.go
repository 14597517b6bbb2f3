package main

import "syscall"

// procAttr gives a process a group of its own, and an end when ours comes.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
