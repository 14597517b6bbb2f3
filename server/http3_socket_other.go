//go:build unix && !linux

package server

import "errors"

// boundDevice returns "": only Linux binds a socket to a device this way.
func boundDevice(int) (string, error) { return "", nil }

func bindDevice(int, string) error { return errors.ErrUnsupported }
