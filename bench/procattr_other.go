//go:build !linux

package main

import "syscall"

// procAttr gives a process a group of its own. Only Linux can also end it when this process is
// killed.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
