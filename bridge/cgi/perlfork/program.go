//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

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

// programEnd matches the line at which a Perl program ends and DATA begins. inPackage matches the statement that can make
// that the DATA of another package than main.
var (
	programEnd = regexp.MustCompile(`(?m)^__(END|DATA)__\b.*(\n|\z)`)
	inPackage  = regexp.MustCompile(`(?m)^\s*package\s`)
)

// hasInit matches an INIT block. Perl runs it once in the life of a process, before the first request.
var hasInit = regexp.MustCompile(`(?m)^\s*INIT\s*\{`)

// writeProgram makes, of a script, the main program that perl/lib/PagiBridge/CGI/Persistent.pm describes.
func (z *zygote) writeProgram(s *version) (err error) {
	source, err := z.owner.readScript(s)
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
	// reset and the empty pattern make ?? match again, and $1 and its like undefined, as at the
	// beginning of a program. The empty pod ends one that the script has left open.
	_, err = fmt.Fprintf(f, "PAGI_BRIDGE_NEXT: PagiBridge::CGI::Persistent::next_request(); reset; '' =~ /(?:)/;\n#line 1 \"%s\"\n%s\n;\n\n=pod\n\n=cut\n\n"+
		";PAGI_BRIDGE_END: PagiBridge::CGI::Persistent::end_request();\ngoto PAGI_BRIDGE_NEXT;\n", z.file, source)
	err = errors.Join(err, z.owner.share(f), f.Close())
	if err != nil {
		return transientError{errors.Join(err, os.Remove(z.program))}
	}
	return nil
}

// readScript reads a script. It is an error if the user that the script runs as may not read it.
func (f *Scripts) readScript(s *version) ([]byte, error) {
	file, err := openPlain(s.file)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	switch {
	case idOf(&st) != s.id:
		return nil, transientError{errors.New("it was changed while it was read")}
	case !mayRead(&st, f.config.Profile.User()):
		return nil, errors.New("the user it runs as may not read it")
	case st.Size > maxProgram:
		return nil, fmt.Errorf("it has more than %d bytes", maxProgram)
	}
	return io.ReadAll(io.LimitReader(file, maxProgram))
}

// maxProgram is the size of the largest script that is made a persistent program.
const maxProgram = 16 << 20

// mayRead reports whether the permission bits of a file let a user read it. A nil user is the gateway's own, who has opened
// the file already.
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
