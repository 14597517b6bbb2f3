package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

// program returns the absolute path of the plugin's file.
func (p *Plugin) program() (string, error) {
	if len(p.Command) == 0 || p.Command[0] == "" {
		return "", errors.New("is missing: a plugin needs a program")
	}
	name := p.Command[0]
	if strings.ContainsRune(name, filepath.Separator) && !filepath.IsAbs(name) {
		name = filepath.Join(p.Dir, name)
		if !filepath.IsAbs(name) {
			name = "." + string(filepath.Separator) + name
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		var reason *exec.Error
		if errors.As(err, &reason) {
			err = reason.Err
		}
		return "", fmt.Errorf("%s cannot be run: %w", p.Command[0], err)
	}
	return filepath.Abs(path)
}

// checksumOf reads "sha256:..." in hexadecimal; nil for "".
func checksumOf(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	digits, is := strings.CutPrefix(text, "sha256:")
	sum, err := hex.DecodeString(digits)
	if !is || err != nil || len(sum) != sha256.Size {
		return nil, errors.New(`must be "sha256:" and 64 hexadecimal digits, as sha256sum prints them`)
	}
	return sum, nil
}

// verify compares the program with the checksum, if there is one.
func (p *Plugin) verify(path string) error {
	sum, err := checksumOf(p.Checksum)
	if err != nil || sum == nil {
		return err
	}
	same, err := (&goplugin.SecureConfig{Checksum: sum, Hash: sha256.New()}).Check(path)
	switch {
	case err != nil:
		return fmt.Errorf("checksum: %w", err)
	case !same:
		return fmt.Errorf("checksum: %s is not the program that the checksum names", path)
	}
	return nil
}

// configJSON returns Config as a JSON object.
func (p *Plugin) configJSON() ([]byte, error) {
	if p.Config == nil {
		return []byte("{}"), nil
	}
	text, err := json.Marshal(p.Config)
	if err != nil {
		return nil, fmt.Errorf("has a value that JSON cannot hold: %w", err)
	}
	return text, nil
}

// kept are the variables of the gateway's environment that a plugin gets. Those that begin with LC_ are too.
var kept = []string{"PATH", "LANG", "TZ", "HOME"}

// environ returns the environment of the program. temp is its directory for temporary files.
func (p *Plugin) environ(temp string) []string {
	values := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if slices.Contains(kept, name) || strings.HasPrefix(name, "LC_") {
			values[name] = value
		}
	}
	if temp != "" {
		values["TMPDIR"] = temp
	} else if dir := os.Getenv("TMPDIR"); dir != "" {
		values["TMPDIR"] = dir
	}
	maps.Copy(values, p.Env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list = append(list, name+"="+values[name])
	}
	return list
}

// Code describes the files of a plugin at one moment: the program, and those of its arguments that name files. Two texts are
// the same if none of them has changed.
func (p *Plugin) Code() string {
	var b strings.Builder
	note := func(path string) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			fmt.Fprintf(&b, "%s %d %s %v\n", path, info.Size(), info.ModTime().Format(time.RFC3339Nano), inode(info))
		}
	}
	if path, err := p.program(); err == nil {
		note(path)
	}
	for _, arg := range p.Command[min(1, len(p.Command)):] {
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(p.Dir, arg)
		}
		note(arg)
	}
	return b.String()
}
