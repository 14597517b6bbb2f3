//go:build !linux

package main

import "syscall"

// procAttr gives a process a group of its own. Nothing but Linux ends it when we are
// killed.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
