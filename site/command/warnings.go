package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// unusable returns the paths that the site uses while it is served and that this process's user may
// not use.
func unusable(s *site.Site, user string) (warnings []string) {
	for _, need := range s.Needs() {
		if need.As == nil {
			warnings = append(warnings, unusableAs(user, need)...)
		}
	}
	return warnings
}

// unusableApart returns the paths that mounts with users of their own use and those users may not use. Only a process of
// root can tell; others have no such mounts.
func unusableApart(s *site.Site) (warnings []string) {
	for _, need := range s.Needs() {
		if need.As == nil {
			continue
		}
		err := proc.As(need.As, func() { warnings = append(warnings, unusableAs(need.User, need)...) })
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			warnings = append(warnings, fmt.Sprintf("what user %s can use is not known: %v", need.User, err))
		}
	}
	return warnings
}

// unusableAs returns a warning about a path that the user of this thread may not use.
func unusableAs(user string, need site.Need) []string {
	err := tryAccess(need)
	if err == nil {
		return nil
	}
	option := need.Option + ": "
	if need.Option == "" {
		option = ""
	}
	return []string{fmt.Sprintf("%suser %s cannot %s %s: %v; it is needed %s", option, user, verbs[need.Access], need.Path, err, need.Why)}
}

var verbs = map[site.Access]string{site.Read: "read", site.Run: "run", site.Write: "make files in", site.List: "look into"}

// tryAccess returns an error if the process may not use a path. A missing path is no error here;
// the part that uses the path reports it.
func tryAccess(need site.Need) error {
	mode := uint32(unix.R_OK)
	info, err := os.Stat(need.Path)
	switch {
	case err == nil && info.IsDir() && need.Access == site.Read:
		mode = unix.X_OK
	case need.Access == site.List:
		mode = unix.R_OK | unix.X_OK
	case need.Access == site.Run:
		mode = unix.X_OK
	case need.Access == site.Write:
		mode = unix.W_OK | unix.X_OK
	}
	err = unix.Faccessat(unix.AT_FDCWD, need.Path, mode, unix.AT_EACCESS)
	if err == syscall.ENOENT {
		return nil
	}
	return err
}

// certificateWarnings returns warnings about certificates that clients will not accept.
func certificateWarnings(s *site.Settings) (warnings []string) {
	files := s.TLS.Certificates
	if s.TLS.Cert != "" {
		files = append([]server.CertificateFiles{{Cert: s.TLS.Cert, Key: s.TLS.Key}}, files...)
	}
	for _, f := range files {
		for _, text := range f.Warnings() {
			warnings = append(warnings, fmt.Sprintf("TLS certificate %s: %s", f.Cert, text))
		}
	}
	return warnings
}

// test checks a site as far as possible without serving it, and returns warnings about what will
// fail later. It becomes the user of the site, if that is another one.
func test(s *site.Site, p Process) (warnings []string, err error) {
	if err := s.CheckPlaces(); err != nil {
		return nil, err
	}
	for _, warning := range s.Warnings {
		warnings = append(warnings, warning.Error())
	}
	warnings = append(warnings, certificateWarnings(&s.Settings)...)
	warnings = append(warnings, unusableApart(s)...)
	user, err := identityOf(&s.Settings)
	switch {
	case err != nil:
		return warnings, err
	case user == nil:
		return warnings, testStatus(s)
	case os.Geteuid() != 0 || p.beginning == nil: // nothing more can be checked, or the process goes on
		return warnings, nil
	}
	if err := user.drop(); err != nil {
		return nil, err
	}
	if err := testStatus(s); err != nil {
		return nil, err
	}
	return append(warnings, unusable(s, user.String())...), nil
}

// testStatus reports a status socket or a hub whose directory is another user's, or open to others.
func testStatus(s *site.Site) error {
	if err := testPrivate(s, "hub", s.Settings.Hub); err != nil {
		return err
	}
	return testPrivate(s, "status_socket", s.Settings.StatusSocket)
}

func testPrivate(s *site.Site, option, path string) error {
	if path == "" {
		return nil
	}
	err := isPrivate(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) { // it is made
		return nil
	}
	return s.ProblemWith(option, err)
}

// warn writes warnings to standard error, for the person who has asked for a test.
func warn(p Process, warnings []string) {
	var text strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&text, "pagi-bridge: warning: %s\n", w)
	}
	_, _ = fmt.Fprint(p.Stderr, text.String()) // there is nowhere else to report an error
}

// makeForUser creates the directory at path if it is missing, and gives it to the user, who could
// not create it later.
func (id *identity) makeForUser(path string) error {
	if id == nil || os.Geteuid() != 0 {
		return nil
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) { // nor is the directory it would be in: what uses it tells
		return nil
	}
	if err != nil {
		return err
	}
	return os.Lchown(path, id.uid, id.gid)
}

// String returns the user's name or number.
func (id *identity) String() string {
	if id.name != "" {
		return id.name
	}
	return fmt.Sprint(id.uid)
}
