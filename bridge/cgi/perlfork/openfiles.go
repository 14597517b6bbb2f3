//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// openFiles are the descriptors of a traced process beyond the standard ones, and the names of the
// files that they are open on.
type openFiles struct {
	byNumber map[int]*openFile
	closed   string // the name of the file whose descriptor was closed last
	last     string // the name of the file that was opened last
	count    int    // how many were opened
}

// openFile is what the kernel calls an open file description: several descriptors may be one.
type openFile struct {
	name   string
	number int // how many files were opened up to this one
}

func (o *openFiles) open(descriptor int, name string) {
	if descriptor < 0 {
		return // it could not be opened
	}
	if o.byNumber == nil {
		o.byNumber = map[int]*openFile{}
	}
	o.count++
	o.last = name
	o.byNumber[descriptor] = &openFile{name, o.count}
}

func (o *openFiles) duplicate(from, to int) {
	if to < 0 {
		return
	}
	file := o.byNumber[from]
	if file == nil { // a standard one
		o.open(to, "descriptor "+strconv.Itoa(from))
		return
	}
	o.byNumber[to] = file
}

func (o *openFiles) close(descriptor int) {
	if file := o.byNumber[descriptor]; file != nil {
		o.closed = file.name
		delete(o.byNumber, descriptor)
	}
}

// innermost returns the name of the file that was opened last of those that are open.
func (o *openFiles) innermost() string {
	last := &openFile{}
	for _, file := range o.byNumber {
		if file.number > last.number {
			last = file
		}
	}
	return last.name
}

// closeAll is called when another program is run: perl and the programs that start it keep no descriptor open for it.
func (o *openFiles) closeAll() { clear(o.byNumber) }

// kept returns the descriptors that are open, in order, and why they cannot be the same
// to several processes, or "".
func (o *openFiles) kept() (all []int, why string) {
	names := map[string]bool{}
	for descriptor, file := range o.byNumber {
		info, err := os.Stat(file.name)
		switch {
		case !filepath.IsAbs(file.name) || err != nil || !info.Mode().IsRegular():
			return nil, "it keeps " + file.name + " open"
		case names[file.name]:
			return nil, "it keeps " + file.name + " open twice"
		}
		names[file.name] = true
		all = append(all, descriptor)
	}
	slices.Sort(all)
	return all, ""
}
