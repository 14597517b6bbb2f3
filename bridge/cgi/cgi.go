//go:build unix

// Package cgi serves CGI scripts (RFC 3875), one or a directory of them, as a pagi.App. A process is started for each
// request; any language will do. Package perlfork below it compiles Perl scripts once where that makes no difference,
// and has a process forked for each request.
//
//	app, err := cgi.CGI{Root: "cgi-bin"}.Build()
//
// What comes in is an http or sse scope whose RootPath is the mount's path. What goes out is the script's response, each
// piece as soon as the script wrote it. The lifespan scope's startup lets scripts be compiled. Its shutdown ends what was
// compiled and waits for scripts that work on after their answer.
//
// The package knows of no sockets towards clients. A failure before the response has begun is returned as a
// *pagi.StatusError whose Err says which script failed and how. A later one is returned too, so that the server cuts the
// connection.
//
// The way of a request through the files of this package:
//
//   - respond.go has Serve: it calls the others in turn and sends the response on.
//   - directories.go chooses the options that count for the path.
//   - resolve.go finds the script; static.go says which files are none.
//   - body.go takes in the request's body.
//   - limit.go waits for a place to run in.
//   - environ.go and environ_tls.go make the script's variables.
//   - launch.go gives the run its job: a process of perlfork, or a new one. Package job says what a job is.
//   - run.go looks after the job until nothing is left of it, with watchdog.go for its time, stderr.go for what it
//     writes to standard error, and resources.go for the limits it ran into.
//   - hung.go finds out where a script is that has taken too long.
//   - output.go reads the head of what the script answers, nph.go that of a script that writes whole responses.
//   - linger.go and keep.go hold the response back, for a moment or to its end.
//   - redirect.go follows a local redirect.
//   - traced.go records the spans of a request whose trace is recorded.
//   - afterwards.go keeps a script that works on when its answer is complete.
//   - failure.go says what went wrong.
//
// cgi.go has the options and what is made of them, check.go checks them, mode.go names the modes.
package cgi

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	reasons "github.com/pagi-go/pagi-bridge/internal/refusal"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// CGI holds the options. Exactly one of Root and Script must be set; the zero
// value of every other option is its default.
type CGI struct {
	// Root is a directory of scripts. The request's path below the mount names
	// the script, the rest of it becomes PATH_INFO. A file runs when it is
	// regular, has an execute bit and neither it nor a directory on the way
	// begins with a dot or is a symbolic link that leads out of Root (an absolute
	// link always does; see FollowSymlinks). The reason of each 403 and 404 is logged at
	// debug, and at warn once for a file that is there.
	Root string `yaml:"root" path:"yes"`
	// Script is the one script that answers everything below the mount.
	Script string `yaml:"script" path:"yes"`
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
	Static string `yaml:"static" default:"refuse"`
	// FollowSymlinks says which symbolic links may lead out of Root: "false", the default,
	// none; "true" all; "owner" those that belong to the owner of what they lead to.
	FollowSymlinks string `yaml:"follow_symlinks"`
	// MaxBodySize is the largest request body in bytes; a larger one is answered 413. 0
	// means that the server's limit counts alone, and the server's must be as large.
	MaxBodySize int64 `yaml:"max_body_size" unit:"bytes"`
	// Directories gives scripts below some paths options of their own.
	Directories []Directory `yaml:"directories"`
	// Index is the name of the script that answers for its directory. Without
	// one a directory is 404.
	Index string `yaml:"index"`
	// NPH says which scripts write a whole HTTP response, status line and all (RFC
	// 3875 section 5): "auto", the default, means those whose names begin with
	// "nph-", "on" all, "off" none.
	NPH string `yaml:"nph" default:"auto"`
	// DocumentRoot is the directory of the site's static files: DOCUMENT_ROOT,
	// and the base of PATH_TRANSLATED. Neither is set without it.
	DocumentRoot string `yaml:"document_root" path:"yes"`

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
	ServerSoftware string `yaml:"server_software" default:"pagi-bridge"`

	// ServerAdmin is SERVER_ADMIN, the address of the site's keeper; not set without it.
	ServerAdmin string `yaml:"server_admin"`

	// RequestTimeout is how long a script may go without a sign of life: a byte of output
	// or a byte of input taken. Waiting for the client does not count. The default is 60 s; negative means no limit. The script's
	// process group is ended and the answer is 504.
	RequestTimeout time.Duration `yaml:"request_timeout" old:"timeout" default:"60s"`
	// CPUTime is the processor time each process of a script may use, at least 1 s; it
	// gets the signal XCPU then, and KILL after KillAfter. The answer is 504. Linux
	// only, as are Memory, Processes, OpenFiles and Nice. 0 means no limit, here and in
	// all of them.
	CPUTime time.Duration `yaml:"cpu_time"`
	// Memory is how many bytes of memory of its own each process of a script may have
	// (RLIMIT_DATA). Programs fail then in their own way; where it shows that they did,
	// the answer is 507.
	Memory int64 `yaml:"memory" unit:"bytes"`
	// Processes is how many processes and threads the user that scripts run as may have
	// in all, the gateway's too where that is the same (RLIMIT_NPROC). The kernel does
	// not count root's. The answer is 503.
	Processes int `yaml:"processes"`
	// OpenFiles is how many descriptors each process of a script may have, at least 3.
	// The answer is 503.
	OpenFiles int `yaml:"open_files"`
	// OutputSize is how many bytes a script may write, its header included; what is
	// more ends it, and the answer is 502. 0 means no limit.
	OutputSize int64 `yaml:"output_size" unit:"bytes"`
	// Nice is added to the priority value of scripts, -20 to 19; below 0 is for root.
	Nice int `yaml:"nice"`
	// User and Group are what scripts run as, by name or number: for a gateway that
	// runs as root. The group is the user's own where it is not set, and the user's
	// supplementary groups are set too. Both may not be root. Nothing is changed where
	// neither is set.
	User  string `yaml:"user"`
	Group string `yaml:"group"`
	// MaxRequestTime is how long a script may run in all, whatever it does; 0 means no
	// limit.
	MaxRequestTime time.Duration `yaml:"max_request_time" old:"max_time"`
	// KillAfter is the time between TERM and KILL when a process group is ended,
	// and the time for which processes a script left behind may hold its output
	// open without writing. The default is 5 s.
	KillAfter time.Duration `yaml:"kill_after" default:"5s"`
	// Concurrency is the number of scripts that run at the same time. The
	// default is 100; negative means no limit.
	Concurrency int `yaml:"concurrency" default:"100"`
	// ScriptConcurrency is how often one script may run at the same time; 0 means no
	// limit but Concurrency.
	ScriptConcurrency int `yaml:"script_concurrency"`
	// QueueTimeout is how long a request waits for one of these places before it
	// gets 503 with Retry-After. The default is 30 s; negative means not to wait.
	QueueTimeout time.Duration `yaml:"queue_timeout" default:"30s"`
	// QueueSize is the number of requests that may wait for a place of one kind; one
	// more gets 503 with Retry-After at once. The default is 1024.
	QueueSize int `yaml:"queue_size" default:"1024"`
	// BodyBuffer is how many bytes of a request body are taken in, in memory and
	// above 64 KiB in a temporary file, before a place is asked for and the script
	// is started. A shorter body is complete then: the script never waits for the
	// client, and CONTENT_LENGTH is known for a chunked one too. The rest of a longer
	// one is handed on as it comes. The default is 1 MiB; negative means to start the
	// script with the first piece, for those that answer while they read.
	BodyBuffer int64 `yaml:"body_buffer" unit:"bytes" default:"1MiB"`
	// Chunked says what becomes of a request body without a Content-Length: "spool"
	// takes all of it in, in memory and above 64 KiB in a temporary file, so that
	// CONTENT_LENGTH is known; "stream" treats it as BodyBuffer says, and a longer one
	// has no CONTENT_LENGTH; "refuse" answers 411. The default is "spool", with a
	// negative BodyBuffer "stream".
	Chunked string `yaml:"chunked" default:"spool"`
	// BufferOutput takes a response in, in memory and above 64 KiB in a temporary file,
	// before any of it is sent: a script that fails in the middle is a 502, a
	// Content-Length is added, and a slow client holds no place. NPH scripts are
	// streamed all the same. nil means false.
	BufferOutput *bool `yaml:"buffer_output"`
	// HeaderLimit is the size in bytes of the largest header block a script may
	// send. The default is 32 KiB, the most is 1 MiB.
	HeaderLimit int `yaml:"header_limit" unit:"bytes" default:"32KiB"`
	// StderrRate is how many lines per second of a script's standard error go to
	// the log; what is beyond is counted and left out. The default is 100;
	// negative means all.
	StderrRate int `yaml:"stderr_rate" default:"100"`

	// Options say how Perl scripts are run: in a process for each request, or compiled once.
	perlfork.Options `yaml:",inline"`

	// Traced says that the header traceparent of a request is one to rely on: the script also gets it as the variable
	// TRACEPARENT, and tracestate as TRACESTATE. Programs such as otel-cli read them.
	Traced bool `yaml:"-"`

	// Redirect answers local redirects (RFC 3875 section 6.2.2): the site's
	// outermost application, called with an empty RootPath. Without one, targets
	// below this mount are answered here and others become a 302.
	Redirect pagi.App `yaml:"-" json:"-"`
	// Files serves what Static lets through; its root is Root. The scope's path names
	// a file.
	Files pagi.App `yaml:"-" json:"-"`
	// Logger gets the scripts' standard error and what is worth a warning. The
	// default is slog.Default().
	Logger *slog.Logger `yaml:"-" json:"-"`
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
	proc.HideInherited()
	if !proc.DiesWithParentWorks {
		a.logger().Warn("cgi: on this system scripts survive a crash of the gateway; only Linux can end them with it")
	}
	return a, nil
}

// app is a CGI, or a directory of one that has options of its own, with its defaults filled in and its paths absolute.
// What it holds does not change once it is built, but for the states of the parts named here.
type app struct {
	CGI
	commonEnv
	admission
	profile *proc.Profile     // as whom its scripts run, and within which limits
	perl    *perlfork.Scripts // its Perl scripts that are compiled once
	buffers sync.Pool         // *[]byte
	root    root              // Root, kept open
	path    string            // below the mount, "" for the mount
	mount   *mount
}

// mount is what a CGI and its directories have together.
type mount struct {
	app         *app
	directories []*app // longer paths first
	later       afterwards
	counters    counters
	lastHang    atomic.Pointer[status.Hang]
	refused     reasons.Log
}

// newApp makes the application of a mount, with its directories.
func newApp(c CGI) (*app, error) {
	a := &app{CGI: c, mount: &mount{}}
	a.mount.app = a
	if err := a.prepare(); err != nil {
		return nil, err
	}
	a.places = newLimiter(a.Concurrency, a.QueueSize, "concurrency", &a.mount.counters)
	return a, a.setDirectories()
}

// prepare checks the options and fills in what follows from them.
func (a *app) prepare() error {
	err := errors.Join(a.setPlace(), a.setLimits(), a.checkResources(), a.setProfile(), a.setEnv(), a.Options.Prepare(a.CPUTime))
	if err == nil {
		a.perl = perlfork.New(a.perlConfig())
	}
	return err
}

// longestCompilation is how long the compilation of a script may take where its requests have
// no time-out.
const longestCompilation = time.Minute

// perlConfig tells the part that compiles Perl scripts what it has to know of the mount.
func (a *app) perlConfig() perlfork.Config {
	compileTime := a.RequestTimeout
	if compileTime < 0 {
		compileTime = longestCompilation
	}
	return perlfork.Config{
		Options: a.Options, Root: a.Root, Profile: a.profile, CompileTime: compileTime, QueueTimeout: a.QueueTimeout,
		Inherited: a.inherited, Own: a.own, Logger: a.logger,
	}
}

func (a *app) logger() *slog.Logger {
	if a.Logger != nil {
		return a.Logger
	}
	return slog.Default()
}
