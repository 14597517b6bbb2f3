//go:build unix

package cgi

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
)

// Directory gives the scripts below a path options of their own. An option that is
// not set is that of the nearest enclosing directory, else the mount's. Env and
// Interpreters are added to those, name by name; PassEnv is added too. Concurrency
// limits the scripts of this directory. A script also needs a place of each enclosing
// directory and of the mount. Authorization can only be made true.
//
// Root, Script, DocumentRoot and Directories cannot be set.
type Directory struct {
	// Path is that of a directory or script below Root, as requests have it: "/admin".
	// The options are for it and all below it. A request by way of a symbolic link
	// elsewhere does not count as below it.
	Path string `yaml:"path"`
	CGI  `yaml:",inline"`
}

// setDirectories makes an app of each directory.
func (a *app) setDirectories() error {
	if len(a.Directories) > 0 && a.Script != "" {
		return errors.New("directories: are for a directory of scripts, not for a script")
	}
	dirs := slices.Clone(a.Directories)
	slices.SortStableFunc(dirs, func(x, y Directory) int { return cmp.Compare(len(x.Path), len(y.Path)) })
	for _, d := range dirs {
		sub, err := a.directory(d)
		if err != nil {
			return fmt.Errorf("directories: %s: %w", d.Path, err)
		}
		a.mount.directories = slices.Insert(a.mount.directories, 0, sub)
	}
	return nil
}

func (a *app) directory(d Directory) (*app, error) {
	if err := d.check(a.mount); err != nil {
		return nil, err
	}
	outer := a.under(d.Path)
	sub := &app{CGI: d.CGI, path: d.Path, mount: a.mount}
	sub.outer = &outer.admission
	if d.BodyBuffer < 0 && d.Chunked == "" && outer.Chunked == ChunkedSpool { // as for the mount
		sub.Chunked = ChunkedStream
	}
	inherit(&sub.CGI, &outer.CGI)
	if len(d.Persistent) == 0 && (d.Mode == ModeExec || d.CPUTime != 0) {
		sub.Persistent = nil // what the directory itself asks for wins
	}
	if d.Mode == "" && d.CPUTime != 0 && sub.Mode == ModePersistent {
		sub.Mode = ModeFork
	}
	if err := sub.prepare(); err != nil {
		return nil, err
	}
	if d.Concurrency != 0 {
		sub.places = newLimiter(d.Concurrency, sub.QueueSize, "concurrency of "+d.Path, &a.mount.counters)
	}
	return sub, nil
}

// check looks at what is special to a directory.
func (d *Directory) check(m *mount) error {
	switch {
	case d.Root != "" || d.Script != "" || d.DocumentRoot != "" || len(d.Directories) > 0:
		return errors.New("root, script, document_root and directories belong to the mount")
	case d.Path == "" || d.Path[0] != '/' || d.Path == "/" || path.Clean(d.Path) != d.Path:
		return errors.New(`path: must be one below the mount, such as "/admin"`)
	case slices.ContainsFunc(m.directories, func(other *app) bool { return other.path == d.Path }):
		return errors.New("path: is there twice")
	}
	root, err := os.OpenRoot(m.app.Root)
	if err != nil {
		return err
	}
	defer root.Close() // a directory opened for reading
	if _, err := root.Stat(d.Path[1:]); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	return nil
}

// inherit sets the options that are not set to the ones that enclose them.
func inherit(to, from *CGI) {
	env, interpreters := maps.Clone(from.Env), maps.Clone(from.Interpreters)
	passed := append(slices.Clone(from.PassEnv), to.PassEnv...)
	add(&env, to.Env)
	add(&interpreters, to.Interpreters)
	fillIn(reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem())
	to.Env, to.Interpreters, to.PassEnv, to.Directories = env, interpreters, passed, nil
}

// fillIn sets the fields of a struct that are not set to those of another one. The fields of an embedded struct count
// each for itself.
func fillIn(target, source reflect.Value) {
	for i := range target.NumField() {
		switch f := target.Field(i); {
		case target.Type().Field(i).Anonymous:
			fillIn(f, source.Field(i))
		case f.IsZero():
			f.Set(source.Field(i))
		}
	}
}

func add(to *map[string]string, more map[string]string) {
	if *to == nil {
		*to = map[string]string{}
	}
	maps.Copy(*to, more)
}

// under returns the app whose options count for a path below the mount.
func (a *app) under(path string) *app {
	for _, d := range a.mount.directories {
		if rest, ok := strings.CutPrefix(path, d.path); ok && (rest == "" || rest[0] == '/') {
			return d
		}
	}
	return a
}
