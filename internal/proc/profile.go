//go:build unix

package proc

import "syscall"

// Profile says as whom processes run and within which limits. It is made once and does not change. A nil Profile stands
// for this process's own user and no limits.
type Profile struct {
	user     *syscall.Credential
	limits   Limits
	launcher []string // the beginning of a command, where a program must set the limits
	prlimit  string   // the program in launcher that sets them
	nicer    string   // the program nice, where that must set the priority
}

// NewProfile finds out how the limits can be set here. A nil user is this process's own. The error may be ErrNoLauncher,
// ErrNoNice or ErrNoStop.
func NewProfile(user *syscall.Credential, limits Limits) (*Profile, error) {
	p := &Profile{user: user, limits: limits}
	if !limits.isSet() {
		return p, nil
	}
	return p, p.setLauncher()
}

// User returns what NewProfile was given.
func (p *Profile) User() *syscall.Credential {
	if p == nil {
		return nil
	}
	return p.user
}

// Limits returns what NewProfile was given.
func (p *Profile) Limits() Limits {
	if p == nil {
		return Limits{}
	}
	return p.limits
}

// start starts the program of s. An error may come with the number of a process that runs and has to be ended.
func (p *Profile) start(s Spec, attr *syscall.ProcAttr) (pid int, err error) {
	if p != nil {
		attr.Sys.Credential = p.user
		if p.limits.isSet() {
			return p.startLimited(s, attr)
		}
	}
	if s.Traced {
		return forkExecTraced(s.Path, s.Args, attr)
	}
	return syscall.ForkExec(s.Path, s.Args, attr)
}
