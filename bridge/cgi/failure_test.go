//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestWhyAScriptCannotBeStartedDecidesTheStatus(t *testing.T) {
	for err, status := range map[error]int{
		syscall.EAGAIN: 503, syscall.ENOMEM: 503, syscall.EMFILE: 503, syscall.ENFILE: 503,
		syscall.E2BIG: 431, syscall.EACCES: 502, syscall.ENOENT: 502, syscall.ENOEXEC: 502, syscall.ELOOP: 502,
	} {
		got := startFailure(scripts+"/hello.cgi", fmt.Errorf("fork: %w", err))
		var e *pagi.StatusError
		if !errors.As(got, &e) || e.Status != status || !errors.Is(got, err) || (status == 503) != e.Headers.Has("retry-after") {
			t.Errorf("%v: %v, want %d", err, got, status)
		}
	}
}

func TestHowAProcessEnded(t *testing.T) {
	for status, want := range map[syscall.WaitStatus]string{
		0: "exit status 0", 3 << 8: "exit status 3", 15: "signal: terminated", 11 | 0x80: "signal: segmentation fault (core dumped)",
	} {
		if got := describe(status); got != want {
			t.Errorf("%#x: %q, want %q", uint32(status), got, want)
		}
	}
}
