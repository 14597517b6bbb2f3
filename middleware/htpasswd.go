package middleware

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tg123/go-htpasswd"
)

const (
	// lookEvery is how often a file of passwords is looked at for a change.
	lookEvery = time.Second
	// maxPasswordFile is the largest such file, in bytes.
	maxPasswordFile = 16 << 20
	// maxBadLines is how many wrong lines an error names.
	maxBadLines = 10
)

// passwordFile is an htpasswd file whose changes are noticed. Requests look for a change, so there
// is no goroutine.
type passwordFile struct {
	name   string
	given  map[string]htpasswd.EncodedPasswd // users who do not stand in the file; they win over those who do
	logger *slog.Logger

	current atomic.Pointer[passwords]
	next    atomic.Int64 // when to look again, as Unix time in nanoseconds

	mu     sync.Mutex // held by the request that looks
	read   os.FileInfo
	readAt time.Time
	sum    [sha256.Size]byte // of the content in use
	told   string            // the last problem that was logged
}

func openPasswordFile(name string, given map[string]htpasswd.EncodedPasswd, logger *slog.Logger) (*passwordFile, error) {
	f := &passwordFile{name: name, given: given, logger: logger}
	if err := f.load(); err != nil {
		return nil, err
	}
	f.next.Store(time.Now().Add(lookEvery).UnixNano())
	return f, nil
}

// passwords returns those that the file has now, or had when it was last right.
func (f *passwordFile) passwords(ctx context.Context) *passwords {
	if now := time.Now(); now.UnixNano() >= f.next.Load() && f.mu.TryLock() {
		defer f.mu.Unlock()
		f.next.Store(now.Add(lookEvery).UnixNano())
		f.look(ctx)
	}
	return f.current.Load()
}

// look reads the file again if it has changed, with mu held. A file that was changed shortly before
// it was read is read once more, because its time may not show a second change.
func (f *passwordFile) look(ctx context.Context) {
	info, err := os.Stat(f.name)
	if err == nil && f.read != nil && os.SameFile(info, f.read) && info.Size() == f.read.Size() && info.ModTime().Equal(f.read.ModTime()) &&
		f.readAt.Sub(f.read.ModTime()) > 2*time.Second {
		return
	}
	if err == nil {
		err = f.load()
	}
	if err == nil {
		f.told = ""
		return
	}
	if text := err.Error(); text != f.told {
		f.told = text
		logger(f.logger).ErrorContext(ctx, "basic_auth: the password file cannot be used; its former content stays in use", "file", f.name, "error", err)
	}
}

// load reads the file. After an error the former passwords stay.
func (f *passwordFile) load() error {
	file, err := os.Open(f.name)
	if err != nil {
		return err
	}
	defer file.Close() // opened for reading
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", f.name)
	}
	f.read, f.readAt = info, time.Now()
	content, err := io.ReadAll(io.LimitReader(file, maxPasswordFile+1))
	if err != nil {
		return err
	}
	if len(content) > maxPasswordFile {
		return fmt.Errorf("%s is larger than %d bytes", f.name, maxPasswordFile)
	}
	sum := sha256.Sum256(content)
	if f.current.Load() != nil && sum == f.sum {
		return nil // keeps what is remembered
	}
	hashes, err := readPasswords(content, f.name)
	if err != nil {
		return err
	}
	f.sum = sum
	all := maps.Clone(f.given)
	if all == nil {
		all = map[string]htpasswd.EncodedPasswd{}
	}
	for user, hash := range hashes {
		if _, taken := all[user]; !taken {
			all[user] = hash
		}
	}
	f.current.Store(newPasswords(all))
	return nil
}

// readPasswords reads lines of the form "user:hash". As in Apache, a line that begins with "#" is a
// comment, what follows a second colon is left out, and the first line of a user counts.
func readPasswords(content []byte, name string) (map[string]htpasswd.EncodedPasswd, error) {
	users := map[string]htpasswd.EncodedPasswd{}
	var bad []error
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(content), "\ufeff")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		user, rest, ok := strings.Cut(line, ":")
		text, _, _ := strings.Cut(rest, ":")
		var problem string
		if !ok || user == "" || hasControl(user) {
			problem = "must be a user, a colon and a hash"
		} else if _, again := users[user]; again {
			continue
		} else if hash, err := parseHash(text); err != nil {
			problem = fmt.Sprintf("the password of %q %v; set it anew: htpasswd -B %s %s", user, err, name, user)
		} else {
			users[user] = hash
		}
		switch {
		case problem == "":
		case len(bad) < maxBadLines:
			bad = append(bad, fmt.Errorf("%s, line %d: %s", name, number, problem))
		case len(bad) == maxBadLines:
			bad = append(bad, fmt.Errorf("%s: there are more such lines", name))
		}
	}
	if len(bad) == 0 && len(users) == 0 {
		return nil, fmt.Errorf("%s has no users", name)
	}
	return users, errors.Join(bad...)
}
