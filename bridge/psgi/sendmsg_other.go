//go:build !linux || 386

package psgi

const sendmsg = 0 // the system has another way, or none
