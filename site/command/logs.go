package command

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/pagi-go/pagi-bridge/site"
)

// logs are what a running gateway writes to.
type logs struct {
	logger *slog.Logger
	level  slog.LevelVar
	stderr io.Writer
	user   *identity // the files become the user's; nil: they stay whose they are

	mu     sync.Mutex
	file   logFile // nil: standard error
	access logFile // nil: standard error, or none
	from   site.Logs
	shared bool // another process writes to the same files
}

// logFile is a log that can be opened anew under its name.
type logFile interface {
	io.WriteCloser
	Reopen() error
}

// openLogs opens the log; the access log is opened by accessWriter. quiet leaves only
// errors, unless the settings have a level.
func openLogs(s *site.Settings, stderr io.Writer, quiet bool, user *identity) (*logs, error) {
	l := &logs{stderr: stderr, user: user}
	l.setLevel(s, quiet)
	to := stderr
	if s.LogFile != "" {
		f, err := openLogFile(s.LogFile, user)
		if err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		l.file, to = f, f
	}
	options := &slog.HandlerOptions{Level: &l.level}
	if s.LogFormat == "json" {
		l.logger = slog.New(slog.NewJSONHandler(to, options))
	} else {
		l.logger = slog.New(slog.NewTextHandler(to, options))
	}
	return l, nil
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

// accessChange is an access log that is to take the place of another.
type accessChange struct {
	logs *logs
	w    io.Writer // nil: none
	file logFile   // w, where it is a file
	from site.Logs
}

// changeAccess opens the access log a site asks for; one that is open already is not
// opened a second time. Either commit or abort must be called.
func (l *logs) changeAccess(s *site.Site) (*accessChange, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &accessChange{logs: l, from: s.Settings.Logs}
	if l.access != nil && sameFile(c.from, l.from) {
		c.w, c.file = l.access, l.access
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
	c.w, c.file = f, f
	return c, nil
}

// commit closes the log that was written before: nobody writes to it any more.
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
	if err := old.Close(); err != nil {
		l.logger.Error("access log cannot be closed", "error", err)
	}
}

// abort leaves everything as it was.
func (c *accessChange) abort() error {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	if c.file == nil || c.file == c.logs.access {
		return nil
	}
	return c.file.Close()
}

// sameFile reports whether two settings mean one file, treated alike.
func sameFile(a, b site.Logs) bool {
	return a.AccessLog == b.AccessLog && a.AccessLogMaxSize == b.AccessLogMaxSize && a.AccessLogMaxAge == b.AccessLogMaxAge &&
		a.AccessLogBackups == b.AccessLogBackups && a.AccessLogCompress == b.AccessLogCompress
}

// reopen opens the files anew under their names, after something has renamed them. A
// file that cannot be opened goes on as it was.
func (l *logs) reopen() {
	l.mu.Lock() // what is closed meanwhile would be opened again
	defer l.mu.Unlock()
	var errs []error
	for _, f := range []logFile{l.file, l.access} {
		if f != nil {
			errs = append(errs, f.Reopen())
		}
	}
	if err := errors.Join(errs...); err != nil {
		l.logger.Error("log files cannot be opened again", "error", err)
		return
	}
	l.logger.Info("log files were opened again")
}

// share tells that another process writes to the same files for a while, or that it does
// not any more.
func (l *logs) share(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared = on
	l.shareAccess()
}

// shareAccess has the access log know it. mu is held.
func (l *logs) shareAccess() {
	if f, ok := l.access.(*rotatedFile); ok {
		if err := f.share(l.shared); err != nil {
			l.logger.Error("access log", "error", err)
		}
	}
}

func (l *logs) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range []logFile{l.access, l.file} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// openAccessLog opens the access log, as a file that is rotated where the settings say
// so. Rotated files take the mode and the owner of the first one.
func openAccessLog(name string, from *site.Logs, user *identity) (logFile, error) {
	plain, err := openLogFile(name, user)
	if err != nil || !from.Rotated() {
		return plain, err
	}
	if err := plain.Close(); err != nil {
		return nil, err
	}
	const mebibyte, day = 1 << 20, 24 * time.Hour
	return &rotatedFile{rotator: lumberjack.Logger{
		Filename:   name,
		MaxSize:    int((from.AccessLogMaxSize + mebibyte - 1) / mebibyte),
		MaxAge:     int((from.AccessLogMaxAge + day - 1) / day),
		MaxBackups: from.AccessLogBackups,
		Compress:   from.AccessLogCompress,
	}}, nil
}

// rotatedFile is put aside when it has become large.
type rotatedFile struct {
	rotator lumberjack.Logger

	mu     sync.Mutex
	shared *plainFile // not nil: another process writes, too, and this one rotates nothing
}

// Write implements io.Writer.
func (f *rotatedFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shared != nil {
		return f.shared.Write(b)
	}
	return f.rotator.Write(b)
}

// Reopen implements logFile.
func (f *rotatedFile) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shared != nil {
		return f.shared.Reopen()
	}
	if err := f.rotator.Close(); err != nil { // the next write opens it
		return err
	}
	file, err := openForAppending(f.rotator.Filename) // or makes one nobody else may read
	if err != nil {
		return err
	}
	return file.Close()
}

// share has this process only append from now on, or be the one that rotates again:
// lumberjack writes where it has written last, whatever another process has added.
func (f *rotatedFile) share(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on == (f.shared != nil) {
		return nil
	}
	if !on {
		file := f.shared
		f.shared = nil
		return file.Close()
	}
	file, err := openForAppending(f.rotator.Filename)
	if err != nil {
		return err
	}
	f.shared = &plainFile{name: f.rotator.Filename, f: file}
	return f.rotator.Close()
}

// Close implements io.Closer.
func (f *rotatedFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shared != nil {
		return f.shared.Close()
	}
	return f.rotator.Close()
}

// plainFile grows until something else renames it.
type plainFile struct {
	name string
	mu   sync.Mutex
	f    *os.File
}

func openLogFile(name string, user *identity) (*plainFile, error) {
	f, err := openForAppending(name)
	if err != nil {
		return nil, err
	}
	if err := user.own(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &plainFile{name: name, f: f}, nil
}

func openForAppending(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}

// Write implements io.Writer.
func (p *plainFile) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.f.Write(b)
}

// Reopen implements logFile.
func (p *plainFile) Reopen() error {
	f, err := openForAppending(p.name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f, p.f = p.f, f
	return f.Close()
}

// Close implements io.Closer.
func (p *plainFile) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.f.Close()
}
