//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/option"
	reasons "github.com/pagi-go/pagi-bridge/internal/refusal"
)

func (a *app) setPlace() error {
	if err := a.checkFileRules(); err != nil {
		return err
	}
	switch {
	case a.Root == "" && a.Script == "":
		return errors.New("root: set it to a directory of scripts, or set script")
	case a.Root != "" && a.Script != "":
		return errors.New("script: cannot be combined with root")
	case strings.ContainsAny(a.Index, "/\x00") || strings.HasPrefix(a.Index, "."):
		return fmt.Errorf("index: must be the name of a file in a directory of scripts, is %q", a.Index)
	case a.Index != "" && a.Script != "":
		return errors.New("index: is for a directory of scripts, not for a script")
	}
	if a.Root != "" {
		if err := directory(&a.Root); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	} else if err := a.setScript(); err != nil {
		return fmt.Errorf("script: %w", err)
	}
	if a.DocumentRoot != "" {
		if err := directory(&a.DocumentRoot); err != nil {
			return fmt.Errorf("document_root: %w", err)
		}
	}
	return nil
}

func (a *app) setLimits() error {
	switch {
	case a.KillAfter < 0:
		return fmt.Errorf("kill_after: must not be negative, is %v", a.KillAfter)
	case a.MaxRequestTime < 0:
		return fmt.Errorf("max_request_time: must not be negative, is %v", a.MaxRequestTime)
	case a.ScriptConcurrency < 0:
		return fmt.Errorf("script_concurrency: must not be negative, is %d", a.ScriptConcurrency)
	case a.MaxBodySize < 0:
		return fmt.Errorf("max_body_size: must not be negative, is %d", a.MaxBodySize)
	case a.QueueSize < 0:
		return fmt.Errorf("queue_size: must not be negative, is %d", a.QueueSize)
	case a.HeaderLimit < 0 || a.HeaderLimit > 1<<20:
		return fmt.Errorf("header_limit: must be 1 to %d bytes, is %d", 1<<20, a.HeaderLimit)
	}
	if err := errors.Join(oneOf("nph", a.NPH, NPHAuto, NPHOn, NPHOff), oneOf("chunked", a.Chunked, ChunkedSpool, ChunkedStream, ChunkedRefuse)); err != nil {
		return err
	}
	if a.BodyBuffer < 0 && a.Chunked == "" {
		a.Chunked = ChunkedStream
	}
	option.SetDefaults(&a.CGI)
	a.scripts = &scriptLimiter{places: a.ScriptConcurrency, queue: a.QueueSize, counters: &a.mount.counters}
	size := max(bufferSize, a.HeaderLimit+perlfork.LeastRead)
	a.buffers.New = func() any { b := make([]byte, size); return &b }
	return nil
}

// oneOf checks an option that takes one of some words; "" is its default.
func oneOf(name, value string, words ...string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%s: must be one of %s, is %q", name, strings.Join(words, ", "), value)
}

// directory makes path absolute and checks that a directory is there.
func directory(path *string) error {
	abs, err := filepath.Abs(*path)
	if err != nil {
		return err
	}
	*path = abs
	info, err := os.Stat(abs)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", abs)
	}
	return err
}

// setScript makes Script absolute and checks that it is there and can run.
func (a *app) setScript() error {
	abs, err := filepath.Abs(a.Script)
	if err != nil {
		return err
	}
	a.Script = abs
	info, err := os.Stat(abs)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", abs)
	case !runnable(info) && a.interpreter(abs) == "":
		return fmt.Errorf("%s is not executable (chmod +x)", abs)
	}
	return nil
}

// checkFileRules checks the options that say which files are scripts.
func (a *app) checkFileRules() error {
	for extension, program := range a.Interpreters {
		info, err := os.Stat(program)
		switch {
		case len(extension) < 2 || extension[0] != '.' || filepath.Ext(extension) != extension || strings.Contains(extension, "/"):
			return fmt.Errorf("interpreters: %q is no extension such as \".pl\"", extension)
		case !filepath.IsAbs(program):
			return fmt.Errorf("interpreters: %s: must be the absolute path of a program, is %q", extension, program)
		case err != nil:
			return fmt.Errorf("interpreters: %s: %w", extension, err)
		case !runnable(info):
			return fmt.Errorf("interpreters: %s: %s is no program", extension, program)
		}
	}
	if err := reasons.CheckFollow(a.FollowSymlinks); err != nil {
		return fmt.Errorf("%s: %w", reasons.OptionFollow, err)
	}
	if err := oneOf("static", a.Static, StaticRefuse, StaticServe); err != nil {
		return err
	}
	if a.Static == StaticServe && a.Files == nil {
		return errors.New("static: serve needs an application for files (Files)")
	}
	return nil
}

// runnable reports whether info is that of a file with an execute bit.
func runnable(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
