//go:build unix

package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// timeoutError says that a script was ended because it took too long.
type timeoutError struct {
	what   string
	option string
	limit  time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s for %v (option %s)", e.what, e.limit, e.option)
}

// scriptError makes the error that Serve returns for a script that failed. how
// says how the process ended, "" where there was none.
func scriptError(file string, pid int, err error, how string) error {
	asked, _ := err.(*pagi.StatusError)
	if asked != nil && asked.Err != nil {
		err = asked.Err // the status is said once, by the error around it
	}
	if how != "" {
		err = fmt.Errorf("cgi: script %s, pid %d: %w (%s)", file, pid, err, how)
	} else {
		err = fmt.Errorf("cgi: script %s: %w", file, err)
	}
	var late *timeoutError
	var limit *limitError
	switch {
	case errors.As(err, &limit):
		return &pagi.StatusError{Status: limit.status, Message: "The script went beyond a limit.", Err: err}
	case errors.As(err, &late):
		return &pagi.StatusError{Status: 504, Message: "The script did not answer in time.", Err: err}
	case asked != nil || errors.As(err, &asked):
		return &pagi.StatusError{Status: asked.Status, Message: asked.Message, Headers: asked.Headers, Err: err}
	}
	return err
}

// badGateway is a 502. err is for the log.
func badGateway(err error) error {
	return &pagi.StatusError{Status: 502, Message: "The script did not give a valid answer.", Err: err}
}

// startFailure says why a script could not be started. It is a *refusal when the file
// was taken away since it was found.
func startFailure(s script, err error) error {
	file := s.file
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES) {
		switch info, gone := os.Stat(file); {
		case errors.Is(gone, fs.ErrNotExist):
			return notFound(file, "the script was taken away since it was found")
		case gone == nil && !runnable(info) && s.interpreter == "":
			return withheld(403, file, noExecuteBit, "")
		}
	}
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ETXTBSY):
		return unavailable(scriptError(file, 0, fmt.Errorf("cannot be started: %w", err), ""))
	case errors.Is(err, syscall.E2BIG):
		return &pagi.StatusError{
			Status:  431,
			Message: "The request is too large to be handed to a script.",
			Err:     scriptError(file, 0, fmt.Errorf("cannot be started, its environment is too large: %w", err), ""),
		}
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EACCES):
		err = fmt.Errorf("%w%s", err, interpreterHint(file))
	}
	return badGateway(scriptError(file, 0, fmt.Errorf("cannot be started: %w", err), ""))
}

// interpreterHint looks at a script's first line for why the system refused to
// run it.
func interpreterHint(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "" // an unreadable script can be a runnable binary; there is nothing to add
	}
	defer f.Close() // opened for reading
	first := make([]byte, 256)
	n, err := io.ReadFull(f, first)
	if err != nil && n == 0 {
		return "; the file is empty"
	}
	line, _, _ := bytes.Cut(first[:n], []byte("\n"))
	switch {
	case bytes.HasPrefix(line, []byte("#!")) && bytes.HasSuffix(line, []byte("\r")):
		return fmt.Sprintf("; its first line %s ends with a carriage return (save the file with Unix line ends)", excerpt(line))
	case bytes.HasPrefix(line, []byte("#!")):
		return fmt.Sprintf("; look at its first line, %s", excerpt(line))
	case bytes.HasPrefix(line, []byte("\x7fELF")):
		return "; it is a program for another system, or its loader is missing"
	}
	return "; it has no first line like #!/usr/bin/perl"
}
