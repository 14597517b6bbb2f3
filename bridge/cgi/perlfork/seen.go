//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// sightings are the files that a script has looked at while it was compiled, or has looked for and not found.
type sightings struct {
	listed map[string]bool // by name: whether it is a directory whose entries were read
	links  map[string]bool // names that were looked at without following a link
}

func (s *sightings) note(name string, listed bool) {
	if s.listed == nil {
		s.listed = map[string]bool{}
	}
	s.listed[name] = s.listed[name] || listed
}

func (s *sightings) noteLink(name string) {
	if s.links == nil {
		s.links = map[string]bool{}
	}
	s.links[name] = true
}

// mostSightings is how many files a compilation may look at. All of them are looked at again every second.
const mostSightings = 10_000

// watched are the states of files that a script was compiled with.
type watched struct {
	since time.Time
	code  []watchedFile // programs and the system's files, which only people change
	data  []watchedFile // all others, which requests may change
}

type watchedFile struct {
	name   string
	id     fileID // zero where there is no such file
	listed bool
	link   bool // a link is not followed
}

// watch notes the states of the files. A file that has changed after since is found at the first look. The script itself is
// not among them: it is looked at for each request. Nor are the files below the directory ours.
func (s *sightings) watch(since time.Time, script, ours string) *watched {
	w := &watched{since: since}
	add := func(f watchedFile) {
		if f.name == script || strings.HasPrefix(f.name, ours+"/") {
			return
		}
		f.id = f.state()
		if isCode(f.name) {
			w.code = append(w.code, f)
		} else {
			w.data = append(w.data, f)
		}
	}
	for name, listed := range s.listed {
		add(watchedFile{name: name, listed: listed})
	}
	for name := range s.links {
		add(watchedFile{name: name, link: true})
	}
	return w
}

// state returns what identifies the file, and the zero value where there is no such file. The times of a directory count
// only where its entries were read. Otherwise each file that is made or removed in it would count.
func (f *watchedFile) state() fileID {
	var st syscall.Stat_t
	look := syscall.Stat
	if f.link {
		look = syscall.Lstat
	}
	if look(f.name, &st) != nil {
		return fileID{}
	}
	id := idOf(&st)
	if id.isDirectory() && !f.listed {
		id.size, id.mtime, id.ctime = 0, 0, 0
	}
	return id
}

// isCode reports whether only people change a file, because it is the system's or a module.
func isCode(name string) bool {
	for _, place := range []string{"/usr/", "/lib/", "/lib64/", "/etc/", "/bin/"} {
		if strings.HasPrefix(name, place) {
			return true
		}
	}
	switch path.Ext(name) {
	case ".pm", ".pmc", ".so", ".al", ".ix", ".bs", ".ph":
		return true
	}
	return false
}

// changed reports whether one of the files is not what it was.
func (w *watched) changed(files []watchedFile) bool {
	for i := range files {
		f := &files[i]
		if is := f.state(); is != f.id || is.isNewerThan(w.since) {
			return true
		}
	}
	return false
}

func isThere(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// isOneYear reports whether it is the same year at both times in every time zone.
func isOneYear(a, b time.Time) bool {
	first, last := a.UTC().Add(-12*time.Hour).Year(), b.UTC().Add(14*time.Hour).Year()
	return first == last && a.UTC().Add(14*time.Hour).Year() == first && b.UTC().Add(-12*time.Hour).Year() == first
}
