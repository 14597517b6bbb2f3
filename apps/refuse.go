package apps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/refusal"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// refuse answers a request with the status of the reason and logs the reason. name is relative to
// the root; "" stands for no file. A reason that already has a file keeps it.
func (f *File) refuse(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, name string, why refusal.Reason) error {
	why.Request = scope.RootPath + scope.Path
	if why.File == "" {
		why.File = filepath.Join(f.dir(), name)
		why.There = name != "" && dir != nil && f.has(dir, name)
	}
	f.refused.Tell(ctx, f.Logger, why)
	return reply.Status(ctx, scope, send, why.Status)
}

// has reports whether something other than a directory has that name, below the root or at the
// target of a link that leads out of it.
func (f *File) has(dir *openRoot, name string) bool {
	info, err := dir.Lstat(name)
	if err != nil && leadsOut(err) {
		info, err = os.Stat(filepath.Join(f.dir(), name))
	}
	return err == nil && !info.IsDir()
}

// outward returns which symbolic link in name leads out of the root, relative to the root. It
// returns name itself where none does.
func outward(dir *openRoot, name string) string {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if _, err := dir.Stat(name[:i]); err != nil && leadsOut(err) {
			return name[:i]
		}
	}
	return name
}

// refuseError answers a request whose file could not be opened. It returns an error that is not the
// fault of the request.
func (f *File) refuseError(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, name string, err error) error {
	status := statusOf(err)
	if status == 0 {
		return err
	}
	why := refusal.Reason{Status: status, Text: err.Error()}
	switch {
	case leadsOut(err) && !errors.Is(err, fs.ErrNotExist):
		link := outward(dir, name)
		why.File = filepath.Join(f.dir(), link)
		why.There = link == name || isThere(filepath.Join(f.dir(), name)) // a warning for each link, not for each file below it
		why.Option = refusal.OptionFollow
		if !errors.Is(err, fs.ErrPermission) { // the text of a system error would say less
			why.Text = "a symbolic link leads out of " + f.dir()
		}
	case errors.Is(err, fs.ErrPermission):
		why.Text = "the gateway's user may not read it"
	case errors.Is(err, fs.ErrNotExist):
		why.Text = "there is no such file"
		if info, err := dir.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			why.Text = "the symbolic link leads nowhere"
		}
	}
	return f.refuse(ctx, scope, send, dir, name, why)
}

// isThere reports whether a name leads to something.
func isThere(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// leadsOut reports whether an error says that a name leads out of a root. openat2 has an error
// number for that; os.Root has an error without a number.
func leadsOut(err error) bool {
	var errno syscall.Errno
	return errors.Is(err, syscall.EXDEV) || errors.Is(err, errNotFollowed) || statusOf(err) == 403 && !errors.As(err, &errno) && !errors.Is(err, fs.ErrPermission)
}

var errNotFollowed = errors.New("it is not followed")

// open opens a file below dir, or one that a symbolic link outside leads to where
// FollowSymlinks allows it.
func (f *File) open(dir *openRoot, name string) (*httpfile.File, error) {
	opened, err := dir.open(name)
	if err == nil || !leadsOut(err) || f.FollowSymlinks == "" || f.FollowSymlinks == refusal.FollowOff {
		return opened, err
	}
	target, err := refusal.Follow(f.FollowSymlinks, f.dir(), name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotFollowed, err)
	}
	return httpfile.Open(target, name)
}

// serveOnly serves a Root that is a file, at the mount's own path.
func (f *File) serveOnly(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if scope.Path != "" && (scope.Path != "/" || scope.RootPath != "") {
		return f.refuse(ctx, scope, send, nil, "", refusal.Reason{Status: 404, Text: "the mount is one file, and has nothing below it"})
	}
	opened, err := httpfile.Open(f.dir(), filepath.Base(f.dir()))
	if err != nil {
		return err
	}
	defer opened.Close() // opened for reading
	return f.serveFile(ctx, scope, send, nil, opened)
}
