//go:build unix

// Package cgi serves CGI scripts (RFC 3875), one or a directory of them, as a
// pagi.App. A process is started per request; any language will do. Perl scripts are
// compiled once where that makes no difference, and a process is forked per request.
//
//	app, err := cgi.CGI{Root: "cgi-bin"}.Build()
//
// What comes in is an http or sse scope whose RootPath is the mount's path; what
// goes out is the script's response, each piece as soon as the script wrote it.
// The lifespan scope's startup lets scripts be compiled; its shutdown ends what was
// compiled and waits for scripts that work on after their answer.
// The package knows of no sockets towards clients. A failure before the response
// has begun is returned as a *pagi.StatusError whose Err says which script failed
// and how; one after it is returned too, so that the server cuts the connection.
//
// The way of a request through the files of this package: directories.go chooses the
// options that count for its path, resolve.go finds the script (or static.go a file),
// body.go takes in the body, limit.go waits for a place, environ.go makes the
// variables, run.go starts the process (process*.go, as credential.go and
// resources*.go say) and looks after it until nothing is left of it, output.go or
// nph.go reads the head of what it answers, respond.go sends that on, linger.go and
// keep.go hold it back, redirect.go follows a local redirect, afterwards.go keeps a
// script that works on when its answer is complete.
//
// A script that is compiled gets its process from accelerate.go instead: compiled.go is
// what is known of a script, shebang.go whether perl runs it, zygote.go the process
// that has compiled it, child.go one that it has forked, worker.go one that answers many
// requests with the program of persistent.go, control.go how they are spoken with.
package cgi

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Defaults of the options.
const (
	DefaultTimeout      = 60 * time.Second
	DefaultKillAfter    = 5 * time.Second
	DefaultConcurrency  = 100
	DefaultQueueTimeout = 30 * time.Second
	DefaultQueueSize    = 1024
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
	// Interpreters names, by the extension of a file (".php"), the program that runs
	// it: the program's absolute path. It is started with the file's absolute name as
	// its argument. Such files need no execute bit.
	Interpreters map[string]string `yaml:"interpreters"`
	// PathInfo says whether a path may go on behind the script's name; nil means
	// true. Where it is false such a path is 404.
	PathInfo *bool `yaml:"path_info"`
	// Static says what becomes of a request for a file that is no script, because it
	// has neither an execute bit nor an interpreter: "refuse", the default, answers
	// 403; "serve" leaves it to Files, unless the file begins with "#!".
	Static string `yaml:"static"`
	// Directories gives scripts below some paths options of their own.
	Directories []Directory `yaml:"directories"`
	// Index is the name of the script that answers for its directory. Without
	// one a directory is 404.
	Index string `yaml:"index"`
	// NPH says which scripts write a whole HTTP response, status line and all (RFC
	// 3875 section 5): "auto", the default, means those whose names begin with
	// "nph-", "on" all, "off" none.
	NPH string `yaml:"nph"`
	// DocumentRoot is the directory of the site's static files: DOCUMENT_ROOT,
	// and the base of PATH_TRANSLATED. Neither is set without it.
	DocumentRoot string `yaml:"document_root"`

	// Env holds variables for the script. They win over all others.
	Env map[string]string `yaml:"env"`
	// PassEnv names variables of this process that are handed on besides
	// PATH, TZ and TMPDIR. One that is not set is left out. A locale (LANG, LC_ALL)
	// must be named: perl takes a tenth longer to start in one.
	PassEnv []string `yaml:"pass_env"`
	// Authorization lets scripts see the client's credentials as
	// HTTP_AUTHORIZATION (RFC 3875 section 4.1.18 advises against it).
	Authorization bool `yaml:"authorization"`
	// ServerSoftware is SERVER_SOFTWARE; the default is "pagi-bridge".
	ServerSoftware string `yaml:"server_software"`

	// ServerAdmin is SERVER_ADMIN, the address of the site's keeper; not set without it.
	ServerAdmin string `yaml:"server_admin"`

	// Timeout is how long a script may keep us waiting: the time without a byte
	// of output and without a byte of input taken. Waiting for the client does
	// not count. The default is 60 s; negative means no limit. The script's
	// process group is ended and the answer is 504.
	Timeout time.Duration `yaml:"timeout"`
	// CPUTime is the processor time each process of a script may use, at least 1 s; it
	// gets the signal XCPU then, and KILL after KillAfter. The answer is 504. Linux
	// only, as are Memory, Processes, OpenFiles and Nice. 0 means no limit, here and in
	// all of them.
	CPUTime time.Duration `yaml:"cpu_time"`
	// Memory is how many bytes of memory of its own each process of a script may have
	// (RLIMIT_DATA). Programs fail then in their own way; where it shows that they did,
	// the answer is 507.
	Memory int64 `yaml:"memory"`
	// Processes is how many processes and threads the user that scripts run as may have
	// in all, the gateway's too where that is the same (RLIMIT_NPROC). The kernel does
	// not count root's. The answer is 503.
	Processes int `yaml:"processes"`
	// OpenFiles is how many descriptors each process of a script may have, at least 3.
	// The answer is 503.
	OpenFiles int `yaml:"open_files"`
	// OutputSize is how many bytes a script may write, its header included; what is
	// more ends it, and the answer is 502. 0 means no limit.
	OutputSize int64 `yaml:"output_size"`
	// Nice is added to the priority value of scripts, -20 to 19; below 0 is for root.
	Nice int `yaml:"nice"`
	// User and Group are what scripts run as, by name or number: for a gateway that
	// runs as root. The group is the user's own where it is not set, and the user's
	// supplementary groups are set too. Both may not be root. Nothing is changed where
	// neither is set.
	User  string `yaml:"user"`
	Group string `yaml:"group"`
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
	// ScriptConcurrency is how often one script may run at the same time; 0 means no
	// limit but Concurrency.
	ScriptConcurrency int `yaml:"script_concurrency"`
	// QueueTimeout is how long a request waits for one of these places before it
	// gets 503 with Retry-After. The default is 30 s; negative means not to wait.
	QueueTimeout time.Duration `yaml:"queue_timeout"`
	// QueueSize is the number of requests that may wait for a place of one kind; one
	// more gets 503 with Retry-After at once. The default is 1024.
	QueueSize int `yaml:"queue_size"`
	// BodyBuffer is how many bytes of a request body are taken in, in memory and
	// above 64 KiB in a temporary file, before a place is asked for and the script
	// is started. A shorter body is complete then: the script never waits for the
	// client, and CONTENT_LENGTH is known for a chunked one too. The rest of a longer
	// one is handed on as it comes. The default is 1 MiB; negative means to start the
	// script with the first piece, for those that answer while they read.
	BodyBuffer int64 `yaml:"body_buffer"`
	// Chunked says what becomes of a request body without a Content-Length: "spool"
	// takes all of it in, in memory and above 64 KiB in a temporary file, so that
	// CONTENT_LENGTH is known; "stream" treats it as BodyBuffer says, and a longer one
	// has no CONTENT_LENGTH; "refuse" answers 411. The default is "spool", with a
	// negative BodyBuffer "stream".
	Chunked string `yaml:"chunked"`
	// BufferOutput takes a response in, in memory and above 64 KiB in a temporary file,
	// before any of it is sent: a script that fails in the middle is a 502, a
	// Content-Length is added, and a slow client holds no place. NPH scripts are
	// streamed all the same. nil means false.
	BufferOutput *bool `yaml:"buffer_output"`
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
	// Files serves what Static lets through; its root is Root. The scope's path names
	// a file.
	Files pagi.App `yaml:"-"`
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
	a, err := newApp(c)
	if err != nil {
		return nil, fmt.Errorf("cgi: %w", err)
	}
	closeInherited()
	if platformNote != "" {
		a.logger().Warn("cgi: " + platformNote)
	}
	return a, nil
}

// app is a CGI, or a directory of one that has options of its own, with its
// defaults filled in and its paths absolute.
type app struct {
	CGI
	inherited   []string        // "name=value" of what every script gets
	own         map[string]bool // names in inherited that the operator chose
	places      *limiter        // nil: of outer only
	scripts     *scriptLimiter
	credential  *syscall.Credential // nil: the gateway's own
	launcher    []string            // the beginning of a command, where a program must set the limits
	later       *afterwards
	fast        *accelerator
	buffers     sync.Pool // *[]byte
	path        string    // below the mount, "" for the mount
	outer       *app      // what encloses it; nil for the mount
	mount       *app
	directories []*app // of the mount, longer paths first
}

// newApp makes the application of a mount, with its directories.
func newApp(c CGI) (*app, error) {
	a := &app{CGI: c, later: &afterwards{}}
	a.mount = a
	if err := a.prepare(); err != nil {
		return nil, err
	}
	a.places = newLimiter(a.Concurrency, a.QueueSize, "concurrency")
	return a, a.setDirectories()
}

// prepare checks the options and fills in what follows from them.
func (a *app) prepare() error {
	return errors.Join(a.setPlace(), a.setLimits(), a.checkResources(), a.setCredential(), a.setEnv(), a.setLauncher(), a.setMode())
}

func (a *app) logger() *slog.Logger {
	if a.Logger != nil {
		return a.Logger
	}
	return slog.Default()
}
