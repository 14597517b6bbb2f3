//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestWhyAScriptCannotBeStartedDecidesTheStatus(t *testing.T) {
	for err, status := range map[error]int{
		syscall.EAGAIN: 503, syscall.ENOMEM: 503, syscall.EMFILE: 503, syscall.ENFILE: 503, syscall.ETXTBSY: 503,
		syscall.E2BIG: 431, syscall.EACCES: 502, syscall.ENOENT: 502, syscall.ENOEXEC: 502, syscall.ELOOP: 502,
	} {
		got := startFailure(script{file: scripts + "/hello.cgi"}, fmt.Errorf("fork: %w", err))
		var e *pagi.StatusError
		if !errors.As(got, &e) || e.Status != status || !errors.Is(got, err) || (status == 503) != e.Headers.Has("retry-after") {
			t.Errorf("%v: %v, want %d", err, got, status)
		}
	}
}

func TestAnErrorSaysItsStatusOnce(t *testing.T) {
	err := do(t, build(t, CGI{}), ask{target: "/raw.cgi?"}).err
	if err == nil || !strings.HasPrefix(err.Error(), "502: cgi: script ") || strings.Count(err.Error(), "502: ") != 1 || !strings.Contains(err.Error(), ": it wrote no output (exit status") {
		t.Error(err)
	}
	inner := fmt.Errorf("read the request body: %w", &pagi.StatusError{Status: 413, Err: errors.New("too large")})
	var status *pagi.StatusError
	if err := scriptError("x.cgi", 7, inner, "exit status 0"); !errors.As(err, &status) || status.Status != 413 || !errors.Is(err, inner) {
		t.Error(err)
	}
}
