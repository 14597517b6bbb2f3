//go:build unix

package cgi

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/metavars"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// defaultPath is PATH where this process has none.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// passedOn names the variables of this process that every script gets.
var passedOn = []string{"PATH", "TZ", "TMPDIR"}

// commonEnv is the part of a script's environment that is the same for all requests.
type commonEnv struct {
	inherited []string        // "name=value" of what every script gets
	own       map[string]bool // names in inherited that the operator chose
}

// setEnv collects the part of the environment that is the same for all requests.
func (a *app) setEnv() error {
	a.own = map[string]bool{}
	for name, value := range a.Env {
		if err := checkVariable(name, value); err != nil {
			return fmt.Errorf("env: %w", err)
		}
		a.own[name] = true
		a.inherited = append(a.inherited, name+"="+value)
	}
	for _, name := range a.PassEnv {
		if err := checkVariable(name, ""); err != nil {
			return fmt.Errorf("pass_env: %w", err)
		}
		if value, ok := os.LookupEnv(name); ok && !a.own[name] {
			a.own[name] = true
			a.inherited = append(a.inherited, name+"="+value)
		}
	}
	for _, name := range passedOn {
		value := os.Getenv(name)
		if name == "PATH" && value == "" {
			value = defaultPath
		}
		if value != "" && !a.own[name] {
			a.inherited = append(a.inherited, name+"="+value)
		}
	}
	return nil
}

func checkVariable(name, value string) error {
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00"):
		return fmt.Errorf("%q cannot be the name of a variable", name)
	case strings.IndexByte(value, 0) >= 0:
		return fmt.Errorf("the value of %s contains NUL", name)
	}
	return nil
}

// environ returns the environment for one run of s. length is the request
// body's, -1 where it is not known or there is no body (RFC 3875 section 4.1.2).
func (a *app) environ(scope *pagi.Scope, s script, length int64) []string {
	env := make([]string, len(a.inherited), len(a.inherited)+len(scope.Headers)+32)
	copy(env, a.inherited)
	set := func(name, value string) {
		if !a.own[name] && strings.IndexByte(value, 0) < 0 {
			env = append(env, name+"="+value)
		}
	}
	own := scope.Clone()
	own.RootPath, own.Path = s.name, s.info
	metavars.Each(own, metavars.Options{ContentLength: length, Authorization: a.Authorization}, func(name, value string) {
		switch name {
		case "PATH_INFO":
			if value == "" {
				return // as Apache does; to be absent and to be empty mean the same (section 4.1)
			}
		case "REMOTE_ADDR":
			if value != "" {
				set("REMOTE_HOST", value) // names are not looked up (section 4.1.9)
			}
		}
		set(name, value)
	})
	set("GATEWAY_INTERFACE", "CGI/1.1")
	set("SERVER_SOFTWARE", a.ServerSoftware)
	set("SCRIPT_FILENAME", s.file)
	set("UNIQUE_ID", uniqueID(scope))
	if a.Traced {
		a.setTrace(scope, set)
	}
	if a.ServerAdmin != "" {
		set("SERVER_ADMIN", a.ServerAdmin)
	}
	if state := scope.TLS(); state != nil {
		eachTLS(state, set)
	}
	if host := scope.Server.Host; host != "" && !strings.HasPrefix(host, "/") {
		set("SERVER_ADDR", host)
	}
	if a.DocumentRoot != "" {
		set("DOCUMENT_ROOT", a.DocumentRoot)
		if s.info != "" {
			set("PATH_TRANSLATED", filepath.Join(a.DocumentRoot, path.Clean("/"+s.info)))
		}
	}
	return env
}

// idPrefix tells this process's ids from those of all others.
var idPrefix = func() (b [10]byte) {
	rand.Read(b[:]) // never fails (crypto/rand)
	return b
}()

var lastID atomic.Uint64

// uniqueID is the request's id, or a new one of 24 letters, digits, "-" and "_".
func uniqueID(scope *pagi.Scope) string {
	if id, _ := scope.Value(scopekey.RequestID).(string); id != "" {
		return id
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(idPrefix[:], lastID.Add(1)))
}
