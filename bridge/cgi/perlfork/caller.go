//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

// libraries are the programs that a traced process has in memory.
type libraries struct {
	main span // perl itself
	all  []library
}

type library struct {
	span
	name string
}

func (l *libraries) add(start, length uint64, file string) {
	l.all = append(l.all, library{span{start, length}, path.Base(file)})
}

// perlItself is what find calls the main program, which is no library.
const perlItself = "perl"

// reach is how far the main program's instructions are from its first one, at most. It counts where they cannot be found.
const reach = 32 << 20

// mapped returns the part of the process's memory around an address that the kernel has mapped in one piece. The heap may lie
// right behind the main program, so a guess would take it for the program.
func (t tracee) mapped(address uint64) span {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", t.pid)) // if it fails, it says nothing
	for line := range strings.Lines(string(maps)) {
		var start, end uint64
		if _, err := fmt.Sscanf(line, "%x-%x ", &start, &end); err == nil && address >= start && address < end {
			return span{start, end - start}
		}
	}
	return span{address - min(address, reach), 2 * reach}
}

// find returns the name of the library that has instructions at an address, "" if there are none.
func (l *libraries) find(address uint64) string {
	for _, lib := range slices.Backward(l.all) {
		if address >= lib.address && address-lib.address < lib.length {
			return lib.name
		}
	}
	if address >= l.main.address && address-l.main.address < l.main.length {
		return perlItself
	}
	return ""
}

// isCLibrary reports whether a library is one through which others make their system calls.
func isCLibrary(name string) bool {
	return strings.HasPrefix(name, "libc.so") || strings.HasPrefix(name, "libc-") || strings.HasPrefix(name, "libpthread") || strings.HasPrefix(name, "ld-")
}

// deepest is how many words of the stack are looked at for a caller.
const deepest = 200

// caller returns which library makes the system call at which the process has stopped. The first return address on the
// stack that is not in the C library tells. On machines that keep return addresses in a register it returns "".
func (j *judge) caller() string {
	if runtime.GOARCH != "amd64" {
		return ""
	}
	info, err := j.info()
	if err != nil {
		return ""
	}
	for i := range uint64(deepest) {
		word, err := j.word(info.stack + 8*i)
		if err != nil {
			return ""
		}
		if name := j.libraries.find(word); name != "" && !isCLibrary(name) {
			return name
		}
	}
	return ""
}
