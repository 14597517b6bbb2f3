//go:build unix

// Package cgi serves CGI scripts (RFC 3875), one or a directory of them, as a
// pagi.App. A process is started per request; any language will do.
//
//	app, err := cgi.CGI{Root: "cgi-bin"}.Build()
//
// What comes in is an http or sse scope whose RootPath is the mount's path; what
// goes out is the script's response, each piece as soon as the script wrote it.
// The lifespan scope's shutdown waits for scripts that work on after their answer.
// The package knows of no sockets towards clients. A failure before the response
// has begun is returned as a *pagi.StatusError whose Err says which script failed
// and how; one after it is returned too, so that the server cuts the connection.
//
// The way of a request through the files of this package: resolve.go finds the
// script, body.go takes in the body, limit.go waits for a place, environ.go makes
// the variables, run.go
// starts the process (process*.go) and looks after it until nothing is left of
// it, output.go reads what it answers, respond.go sends that on, redirect.go
// follows a local redirect, afterwards.go keeps a script that works on when its
// answer is complete.
package cgi

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Defaults of the options.
const (
	DefaultTimeout      = 60 * time.Second
	DefaultKillAfter    = 5 * time.Second
	DefaultConcurrency  = 100
	DefaultQueueTimeout = 30 * time.Second
	DefaultBodyBuffer   = 1 << 20
	DefaultHeaderLimit  = 32 << 10
	DefaultStderrRate   = 100
	DefaultSoftware     = "pagi-bridge"
)

// CGI holds the options. Exactly one of Root and Script must be set; the zero
// value of every other option is its default.
type CGI struct {
	// Root is a directory of scripts. The request's path below the mount names
	// the script, the rest of it becomes PATH_INFO. A file runs when it is
	// regular, has an execute bit and neither it nor a directory on the way
	// begins with a dot or is a symbolic link that leads out of Root (an absolute
	// link always does).
	Root string `yaml:"root"`
	// Script is the one script that answers everything below the mount.
	Script string `yaml:"script"`
	// Index is the name of the script that answers for its directory. Without
	// one a directory is 404.
	Index string `yaml:"index"`
	// DocumentRoot is the directory of the site's static files: DOCUMENT_ROOT,
	// and the base of PATH_TRANSLATED. Neither is set without it.
	DocumentRoot string `yaml:"document_root"`

	// Env holds variables for the script. They win over all others.
	Env map[string]string `yaml:"env"`
	// PassEnv names variables of this process that are handed on besides
	// PATH, LANG, LC_ALL, LC_CTYPE, TZ and TMPDIR. One that is not set is left out.
	PassEnv []string `yaml:"pass_env"`
	// Authorization lets scripts see the client's credentials as
	// HTTP_AUTHORIZATION (RFC 3875 section 4.1.18 advises against it).
	Authorization bool `yaml:"authorization"`
	// ServerSoftware is SERVER_SOFTWARE; the default is "pagi-bridge".
	ServerSoftware string `yaml:"server_software"`

	// Timeout is how long a script may keep us waiting: the time without a byte
	// of output and without a byte of input taken. Waiting for the client does
	// not count. The default is 60 s; negative means no limit. The script's
	// process group is ended and the answer is 504.
	Timeout time.Duration `yaml:"timeout"`
	// MaxTime is how long a script may run in all, whatever it does; 0 means no
	// limit.
	MaxTime time.Duration `yaml:"max_time"`
	// KillAfter is the time between TERM and KILL when a process group is ended,
	// and the time for which processes a script left behind may hold its output
	// open without writing. The default is 5 s.
	KillAfter time.Duration `yaml:"kill_after"`
	// Concurrency is the number of scripts that run at the same time. The
	// default is 100; negative means no limit.
	Concurrency int `yaml:"concurrency"`
	// QueueTimeout is how long a request waits for one of these places before it
	// gets 503 with Retry-After. The default is 30 s; negative means not to wait.
	QueueTimeout time.Duration `yaml:"queue_timeout"`
	// BodyBuffer is how many bytes of a request body are taken in, in memory and
	// above 64 KiB in a temporary file, before a place is asked for and the script
	// is started. A shorter body is complete then: the script never waits for the
	// client, and CONTENT_LENGTH is known for a chunked one too. The rest of a longer
	// one is handed on as it comes. The default is 1 MiB; negative means to start the
	// script with the first piece, for those that answer while they read.
	BodyBuffer int64 `yaml:"body_buffer"`
	// HeaderLimit is the size in bytes of the largest header block a script may
	// send. The default is 32 KiB, the most is 1 MiB.
	HeaderLimit int `yaml:"header_limit"`
	// StderrRate is how many lines per second of a script's standard error go to
	// the log; what is beyond is counted and left out. The default is 100;
	// negative means all.
	StderrRate int `yaml:"stderr_rate"`

	// Mode says how scripts are run: "exec" starts a process for each request; "fork" has a
	// Perl script compiled once and forks for each request; "persistent" runs the same
	// compiled script again and again. The default is "auto": fork where it gives the
	// same results as exec, which it looks for itself. What needs no Perl, or cannot be
	// compiled once, is run by exec in every mode.
	Mode string `yaml:"mode"`
	// PreloadModules are loaded before each script that is compiled once.
	PreloadModules []string `yaml:"preload_modules"`
	// AcceleratedScripts is how many scripts stay compiled, the last used ones. The
	// default is 64.
	AcceleratedScripts int `yaml:"accelerated_scripts"`
	// Persistent are names of scripts, or patterns such as "reports/*.cgi", that are run
	// as mode persistent does. A pattern without a slash is about the file's name alone.
	Persistent []string `yaml:"persistent"`
	// PersistentWorkers is the number of processes that a persistent script has at most.
	// The default is 4.
	PersistentWorkers int `yaml:"persistent_workers"`
	// PersistentRequests is how many requests such a process answers before another
	// takes its place. The default is 1000; negative means no limit.
	PersistentRequests int `yaml:"persistent_requests"`

	// Redirect answers local redirects (RFC 3875 section 6.2.2): the site's
	// outermost application, called with an empty RootPath. Without one, targets
	// below this mount are answered here and others become a 302.
	Redirect pagi.App `yaml:"-"`
	// Logger gets the scripts' standard error and what is worth a warning. The
	// default is slog.Default().
	Logger *slog.Logger `yaml:"-"`
}

// Build checks the options and returns the application. An error names the option
// as a site file spells it.
//
// Descriptors above 2 that this process inherited are marked close-on-exec, so
// that they do not reach a script.
func (c CGI) Build() (pagi.App, error) {
	a := &app{CGI: c}
	if err := errors.Join(a.setPlace(), a.setLimits(), a.setEnv(), a.setMode()); err != nil {
		return nil, fmt.Errorf("cgi: %w", err)
	}
	closeInherited()
	if platformNote != "" {
		a.logger().Warn("cgi: " + platformNote)
	}
	return a, nil
}

// app is a CGI with its defaults filled in and its paths absolute.
type app struct {
	CGI
	inherited []string        // "name=value" of what every script gets
	own       map[string]bool // names in inherited that the operator chose
	places    limiter
	later     afterwards
	fast      *accelerator
	buffers   sync.Pool // *[]byte
}

func (a *app) setPlace() error {
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
	} else if err := executable(&a.Script); err != nil {
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
	case a.MaxTime < 0:
		return fmt.Errorf("max_time: must not be negative, is %v", a.MaxTime)
	case a.HeaderLimit < 0 || a.HeaderLimit > 1<<20:
		return fmt.Errorf("header_limit: must be 1 to %d bytes, is %d", 1<<20, a.HeaderLimit)
	}
	setDefault(&a.Timeout, DefaultTimeout)
	setDefault(&a.KillAfter, DefaultKillAfter)
	setDefault(&a.Concurrency, DefaultConcurrency)
	setDefault(&a.QueueTimeout, DefaultQueueTimeout)
	setDefault(&a.BodyBuffer, DefaultBodyBuffer)
	setDefault(&a.HeaderLimit, DefaultHeaderLimit)
	setDefault(&a.StderrRate, DefaultStderrRate)
	setDefault(&a.ServerSoftware, DefaultSoftware)
	a.places = newLimiter(a.Concurrency, a.QueueTimeout)
	size := max(bufferSize, a.HeaderLimit)
	a.buffers.New = func() any { b := make([]byte, size); return &b }
	return nil
}

func setDefault[T comparable](option *T, value T) {
	if *option == *new(T) {
		*option = value
	}
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

// executable makes path absolute and checks that a script is there.
func executable(path *string) error {
	abs, err := filepath.Abs(*path)
	if err != nil {
		return err
	}
	*path = abs
	info, err := os.Stat(abs)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", abs)
	case !runnable(info):
		return fmt.Errorf("%s is not executable (chmod +x)", abs)
	}
	return nil
}

// runnable reports whether info is that of a file with an execute bit.
func runnable(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

func (a *app) logger() *slog.Logger {
	if a.Logger != nil {
		return a.Logger
	}
	return slog.Default()
}
