//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// programEnd matches the line at which a Perl program ends and DATA begins, and
// inPackage what makes that another package's.
var (
	programEnd = regexp.MustCompile(`(?m)^__(END|DATA)__\b.*(\n|\z)`)
	inPackage  = regexp.MustCompile(`(?m)^\s*package\s`)
)

// hasInit matches a block that perl runs once in the life of a process, before the
// first request is there.
var hasInit = regexp.MustCompile(`(?m)^\s*INIT\s*\{`)

// writeProgram makes the program of perl/lib/PagiBridge/CGI/Persistent.pm of a script.
func (z *zygote) writeProgram(s *compiled) (err error) {
	source, err := z.owner.app.readScript(s)
	switch {
	case err != nil:
		return err
	case strings.ContainsAny(z.file, "\"\n"):
		return errors.New("its name has a quote, which #line cannot say")
	case hasInit.Match(source):
		return errors.New("it has an INIT block, which would see only the first request")
	}
	if end := programEnd.FindIndex(source); end != nil {
		if bytes.HasPrefix(source[end[0]:], []byte("__DATA__")) && inPackage.Match(source[:end[0]]) {
			return errors.New("it may have DATA of another package than main")
		}
		z.data = strconv.Itoa(end[1])
		source = source[:end[0]]
	}
	f, err := os.CreateTemp(z.owner.dir, "program-*.pl") // mode 0600
	if err != nil {
		return transientError{err}
	}
	z.program = f.Name()
	// The empty pod ends one that the script has left open.
	_, err = fmt.Fprintf(f, "PAGI_BRIDGE_NEXT: PagiBridge::CGI::Persistent::next_request();\n#line 1 \"%s\"\n%s\n;\n\n=pod\n\n=cut\n\n"+
		";PAGI_BRIDGE_END: PagiBridge::CGI::Persistent::end_request();\ngoto PAGI_BRIDGE_NEXT;\n", z.file, source)
	err = errors.Join(err, z.owner.app.share(f), f.Close())
	if err != nil {
		return transientError{errors.Join(err, os.Remove(z.program))}
	}
	return nil
}

// readScript reads a script for the user it runs as, who must be allowed to.
func (a *app) readScript(s *compiled) ([]byte, error) {
	f, err := openPlain(s.file, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	switch {
	case idOf(&st) != s.id:
		return nil, transientError{errors.New("it was changed while it was read")}
	case !mayRead(&st, a.credential):
		return nil, errors.New("the user it runs as may not read it")
	case st.Size > maxProgram:
		return nil, fmt.Errorf("it has more than %d bytes", maxProgram)
	}
	return io.ReadAll(io.LimitReader(f, maxProgram))
}

// maxProgram is the size of the largest script that is made a persistent program.
const maxProgram = 16 << 20

// mayRead reports whether the permission bits of a file let that user read it; nil is
// the gateway's own, who has opened it.
func mayRead(st *syscall.Stat_t, who *syscall.Credential) bool {
	switch {
	case who == nil || who.Uid == 0:
		return true
	case st.Uid == who.Uid:
		return st.Mode&0o400 != 0
	case st.Gid == who.Gid || slices.Contains(who.Groups, st.Gid):
		return st.Mode&0o040 != 0
	}
	return st.Mode&0o004 != 0
}
