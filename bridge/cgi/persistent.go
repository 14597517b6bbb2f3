//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// programEnd matches the line at which a Perl program ends and DATA begins.
var programEnd = regexp.MustCompile(`(?m)^__(END|DATA)__\r?(\n|\z)`)

// hasInit matches a block that perl runs once in the life of a process, before the
// first request is there.
var hasInit = regexp.MustCompile(`(?m)^\s*INIT\s*\{`)

// writeProgram makes the program of perl/lib/PagiBridge/CGI/Persistent.pm of a script.
func (z *zygote) writeProgram() (err error) {
	source, err := os.ReadFile(z.file)
	switch {
	case err != nil:
		return err
	case strings.ContainsAny(z.file, "\"\n"):
		return errors.New("its name has a quote, which #line cannot say")
	case hasInit.Match(source):
		return errors.New("it has an INIT block, which would see only the first request")
	}
	if end := programEnd.FindIndex(source); end != nil {
		z.data = strconv.Itoa(end[1])
		source = source[:end[0]]
	}
	f, err := os.CreateTemp(z.owner.dir, "program-*.pl") // mode 0600
	if err != nil {
		return err
	}
	z.program = f.Name()
	// The empty pod ends one that the script has left open.
	_, err = fmt.Fprintf(f, "PAGI_BRIDGE_NEXT: PagiBridge::CGI::Persistent::next_request();\n#line 1 \"%s\"\n%s\n;\n\n=pod\n\n=cut\n\n"+
		";PAGI_BRIDGE_END: PagiBridge::CGI::Persistent::end_request();\ngoto PAGI_BRIDGE_NEXT;\n", z.file, source)
	err = errors.Join(err, f.Close(), z.owner.app.handOver(z.program))
	if err != nil {
		return errors.Join(err, os.Remove(z.program))
	}
	return nil
}
