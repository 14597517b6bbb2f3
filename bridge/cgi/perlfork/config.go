//go:build unix

package perlfork

import (
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Config is what the host of the scripts tells of itself.
type Config struct {
	// Options are those of the site file, prepared.
	Options
	// Root is the directory of the scripts, from which the patterns of Persistent begin.
	Root string
	// Profile says as whom the scripts run and within which limits. Nil means as the gateway does.
	Profile *proc.Profile
	// CompileTime is how long the compilation of a script may take.
	CompileTime time.Duration
	// QueueTimeout is how long a request waits for a process of a persistent script.
	QueueTimeout time.Duration
	// Inherited are the variables that are the same for all requests, "NAME=VALUE".
	Inherited []string
	// Own holds the names of those among them that the operator has chosen. A request cannot change them.
	Own map[string]bool
	// Logger returns where to tell what is worth it.
	Logger func() *slog.Logger
}

// Request is one request for a script.
type Request struct {
	// File is the script, an absolute name.
	File string
	// Interpreter is the program that the operator has chosen for the file, "" where its first line tells.
	Interpreter string
	// Env is the environment of the run, "NAME=VALUE".
	Env []string
	// Stdin is the descriptor of its input.
	Stdin int
}

// Status is what is known of a script.
type Status struct {
	File       string
	State      State
	Persistent bool
	// PID is the number of the process that has compiled the script, 0 where there is none.
	PID int
	// Reason is why the script is run by exec, where State is Refused.
	Reason string
	// Again is the time before which a script is not compiled again, because that has just failed.
	Again time.Time
	// Requests is how often the script was asked for, Used when last.
	Requests int
	Used     time.Time
	// Processes is the number of the processes of a persistent script, those that are about to be
	// there included. Idle is how many processes wait for a request.
	Processes, Idle int
}

// Worthwhile is the number of the request for a script with which mode auto begins to compile it. A script that is asked
// for once a day shall not take memory.
const Worthwhile = 2

// State is where a version of a script's file is.
//
//	Untried --compile--> Compiling --ready--> Compiled --zygote died, a module changed--> Untried
//	   |                     |   |
//	   |                     |   +-- failed, may work later --> Untried, for a while
//	   +---- no Perl, -------+---- refused -----> Refused
//
// Replaced is the end of every version: the file was changed, or no request asks for it any more.
type State uint8

// The states.
const (
	Untried State = iota
	Compiling
	Compiled
	Refused
	Replaced
)

var stateNames = [...]string{"untried", "compiling", "compiled", "refused", "replaced"}

func (s State) String() string { return stateNames[s] }
