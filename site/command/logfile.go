package command

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/pagi-go/pagi-bridge/site"
)

// openAccessLog opens the access log, with rotation if the settings ask for it. New files get the
// mode and the owner of the first one.
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

// rotatedFile is a log file that is rotated when it has become large.
type rotatedFile struct {
	rotator lumberjack.Logger

	mu     sync.Mutex
	shared *plainFile // not nil: another process writes, too, and this process does not rotate
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
	if err := f.rotator.Close(); err != nil { // the next write opens the file again
		return err
	}
	file, err := openForAppending(f.rotator.Filename) // a new one gets mode 0600
	if err != nil {
		return err
	}
	return file.Close()
}

// share makes this process only append from now on, or rotate the file again. It is needed because
// lumberjack writes at its own last position, even if another process has added lines.
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

// plainFile is a log file that grows until another program renames it.
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

// openForAppending opens a log file, or creates it. It opens a FIFO for reading, too. So it need
// not wait for a reader, and the FIFO keeps lines up to its size.
func openForAppending(name string) (*os.File, error) {
	const how = os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	info, err := os.Stat(name)
	if err == nil && info.Mode().Type() == fs.ModeNamedPipe {
		return os.OpenFile(name, how|os.O_RDWR, 0o644)
	}
	return os.OpenFile(name, how|os.O_WRONLY, 0o644)
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
