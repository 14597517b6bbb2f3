//go:build !linux

package psgi

const sendmsg = 0
