package command

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/lines"
	"github.com/pagi-go/pagi-bridge/site"
)

// logPatience is how long an operation waits for a log that is stuck. After that time the operation
// is done later.
const logPatience = time.Second

// logs are the log and the access log of a running gateway.
type logs struct {
	logger *slog.Logger
	level  slog.LevelVar
	stderr io.Writer
	user   *identity // the owner of new files; nil: no change

	mu     sync.Mutex
	file   *openLog // nil: standard error
	access *openLog // nil: standard error, or none
	from   site.Logs
	shared bool // another process writes to the same files
}

// logFile is a log that can be opened again under its name.
type logFile interface {
	io.WriteCloser
	Reopen() error
}

// openLog is a log file and its writer. Only this writer uses the file.
type openLog struct {
	lines *lines.Writer
	file  logFile
}

func newOpenLog(file logFile) *openLog { return &openLog{lines.New(file, lines.Options{}), file} }

// do calls f between two writes and returns the error of f. If the log is stuck it returns
// errStuck, and f is called later.
func (o *openLog) do(f func() error) error {
	failed := make(chan error, 1)
	if !o.lines.Do(logPatience, func() { failed <- f() }) {
		return errStuck
	}
	return <-failed
}

// errStuck says that an operation on a log is not done yet.
var errStuck = errors.New("it cannot be written at the moment")

// close writes the last lines and closes the file. A stuck file stays open until the process ends.
func (o *openLog) close() error {
	failed := make(chan error, 1)
	done := o.lines.Do(logPatience, func() { failed <- o.file.Close() })
	if err := o.lines.Close(0); !done {
		return errors.Join(errStuck, err)
	}
	return <-failed
}

// openLogs opens the log; the access log is opened by accessWriter. quiet leaves only
// errors, unless the settings have a level. terminal says that stderr is a terminal.
func openLogs(s *site.Settings, stderr io.Writer, quiet bool, user *identity, terminal bool) (*logs, error) {
	l := &logs{stderr: stderr, user: user}
	l.setLevel(s, quiet)
	to := stderr
	if s.LogFile != "" {
		f, err := openLogFile(s.LogFile, user)
		if err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		l.file = newOpenLog(f)
		to = l.file.lines
	}
	options := &slog.HandlerOptions{Level: &l.level}
	switch {
	case s.LogFormat == "json":
		l.logger = slog.New(slog.NewJSONHandler(to, options))
	case terminal && l.file == nil:
		l.logger = slog.New(slog.NewTextHandler(terminalLines{to}, options))
	default:
		l.logger = slog.New(slog.NewTextHandler(to, options))
	}
	if w, ok := to.(*lines.Writer); ok { // an error of this writer cannot be logged to itself
		w.Tell(nil, func(loss lines.Loss) { l.tellLoss("the log", loss) })
	}
	return l, nil
}

// tellLoss logs how many lines a log has lost, once it can be written again.
func (l *logs) tellLoss(what string, loss lines.Loss) {
	l.logger.Warn("lines of "+what+" were lost", "lines", loss.Lines, "since", loss.Since, "error", loss.Err)
}

func (l *logs) setLevel(s *site.Settings, quiet bool) {
	var level slog.Level
	switch err := level.UnmarshalText([]byte(s.LogLevel)); {
	case err == nil: // "" is none
		l.level.Set(level)
	case quiet:
		l.level.Set(slog.LevelError)
	default:
		l.level.Set(slog.LevelInfo)
	}
}

// accessChange is an access log that is to replace another one.
type accessChange struct {
	logs *logs
	w    io.Writer // nil: none
	file *openLog  // of w, where it is a file
	from site.Logs
}

// changeAccess opens the access log of a site, unless it is open already. Either commit or abort
// must be called.
func (l *logs) changeAccess(s *site.Site) (*accessChange, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &accessChange{logs: l, from: s.Settings.Logs}
	if l.access != nil && sameFile(c.from, l.from) {
		c.w, c.file = l.access.lines, l.access
		return c, nil
	}
	to := c.from.AccessLog
	if to == "" && s.Development() {
		to = "-"
	}
	switch to {
	case "", "off":
		return c, nil
	case "-":
		c.w = l.stderr
		return c, nil
	}
	f, err := openAccessLog(to, &c.from, l.user)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	c.file = newOpenLog(f)
	c.file.lines.Tell(func(err error) { l.logger.Error("cannot write the access log; lines are lost", "error", err) },
		func(loss lines.Loss) { l.tellLoss("the access log", loss) })
	c.w = c.file.lines
	return c, nil
}

// commit closes the former log, to which no goroutine writes any more.
func (c *accessChange) commit() {
	l := c.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.access
	l.access, l.from = c.file, c.from
	l.shareAccess()
	if old == nil || old == c.file {
		return
	}
	if err := old.close(); err != nil {
		l.logger.Error("cannot close the access log", "error", err)
	}
}

// abort drops the new log and keeps the former one.
func (c *accessChange) abort() error {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	if c.file == nil || c.file == c.logs.access {
		return nil
	}
	return c.file.close()
}

// sameFile reports whether two settings name the same file with the same options.
func sameFile(a, b site.Logs) bool {
	return a.AccessLog == b.AccessLog && a.AccessLogMaxSize == b.AccessLogMaxSize && a.AccessLogMaxAge == b.AccessLogMaxAge &&
		a.AccessLogBackups == b.AccessLogBackups && a.AccessLogCompress == b.AccessLogCompress
}

// reopen opens the files again under their names, after another program has renamed them. If a file
// cannot be opened, the old one stays in use. A stuck file is opened again once it takes lines.
func (l *logs) reopen() {
	l.mu.Lock() // otherwise a file that is closed meanwhile would be opened again
	defer l.mu.Unlock()
	var errs []error
	for _, o := range []*openLog{l.file, l.access} {
		if o != nil {
			errs = append(errs, o.do(o.file.Reopen))
		}
	}
	if err := errors.Join(errs...); err != nil {
		l.logger.Error("cannot open the log files anew", "error", err)
		return
	}
	l.logger.Info("the log files have been opened anew")
}

// share notes whether another process writes to the same files.
func (l *logs) share(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared = on
	l.shareAccess()
}

// shareAccess passes that on to the access log. mu is held.
func (l *logs) shareAccess() {
	if l.access == nil {
		return
	}
	shared := l.shared
	if f, ok := l.access.file.(*rotatedFile); ok {
		if err := l.access.do(func() error { return f.share(shared) }); err != nil {
			l.logger.Error("cannot tell the access log about the other process", "error", err)
		}
	}
}

// stats describe the logs by the options that name them.
func (l *logs) stats() map[string]lines.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]lines.Stats{}
	if w, ok := l.stderr.(*lines.Writer); ok {
		all["standard error"] = w.Stats()
	}
	if l.file != nil {
		all["log_file"] = l.file.lines.Stats()
	}
	if l.access != nil {
		all["access_log"] = l.access.lines.Stats()
	}
	return all
}

// close closes the logs. Lines that cannot be written in time are lost.
func (l *logs) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, o := range []*openLog{l.access, l.file} {
		if o != nil {
			errs = append(errs, o.close())
		}
	}
	return errors.Join(errs...)
}
