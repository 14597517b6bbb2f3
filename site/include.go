package site

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml/ast"
)

// sourceFile is the text of a file of which a site was made.
type sourceFile struct {
	name string
	text []byte
}

// include reads the site files that the key include names: one, or a list, each a name or a pattern
// such as conf.d/*.yaml. It returns false if include names directories of Perl modules, in its
// former meaning of the key lib.
func (d *decoder) include(p pair) bool {
	items := []ast.Node{p.value}
	if list, ok := d.plain(p.value).(*ast.SequenceNode); ok {
		items = list.Values
	}
	files := 0
	for _, item := range items {
		if name, ok := d.scalar(item); ok && isSiteFile(name) {
			files++
		}
	}
	if files == 0 {
		return false
	}
	for _, item := range items {
		name, ok := d.scalar(item)
		if !ok || !isSiteFile(name) {
			d.problems.add(d.at(d.plain(item)), "include: must be names of site files, which end in .yaml or .yml, is %s; directories of Perl modules belong to \"lib\"", d.describe(d.plain(item)))
			continue
		}
		d.includeFiles(name, d.at(d.plain(item)))
	}
	return true
}

func isSiteFile(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// includeFiles reads the files that a name or a pattern stands for, in the order of their names. A
// pattern may match no file. It does not match names that begin with a dot.
func (d *decoder) includeFiles(name string, at Position) {
	if !isPattern(name) {
		d.includeFile(d.resolve(name), at)
		return
	}
	if _, err := filepath.Match(name, ""); err != nil {
		d.problems.add(at, "include: %q: %w", name, err)
		return
	}
	for _, file := range d.matches(name, at) {
		d.includeFile(file, at)
	}
}

func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// matches returns the files that match a pattern. Unlike filepath.Glob it reports a directory that
// is missing or cannot be read: without that, the mounts in it would be gone at the next reload.
func (d *decoder) matches(pattern string, at Position) []string {
	parts := strings.Split(filepath.Clean(pattern), "/")
	found := []string{filepath.Dir(d.file)}
	if filepath.IsAbs(pattern) {
		found, parts = []string{"/"}, parts[1:]
	}
	for i, part := range parts {
		var below []string
		for _, dir := range found {
			below = append(below, d.matchesIn(dir, part, slices.ContainsFunc(parts[:i], isPattern), at)...)
		}
		found = below
	}
	return found
}

// matchesIn returns the names of a directory that match one part of a pattern. A directory that a
// part before it has found may be something else, or lack the name.
func (d *decoder) matchesIn(dir, part string, mayLack bool, at Position) (found []string) {
	if !isPattern(part) {
		path := filepath.Join(dir, part)
		if _, err := os.Stat(path); mayLack && isMissing(err) {
			return nil
		}
		return []string{path} // whether it can be read is found out next
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !mayLack || !isMissing(err) {
			d.problems.add(at, "include: %s: %w", dir, reason(err))
		}
		return nil
	}
	d.site.listed = append(d.site.listed, dir)
	for _, entry := range entries {
		if matches, _ := filepath.Match(part, entry.Name()); matches && !strings.HasPrefix(entry.Name(), ".") {
			found = append(found, filepath.Join(dir, entry.Name()))
		}
	}
	return found
}

func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func (d *decoder) includeFile(file string, at Position) {
	if i := slices.IndexFunc(d.reading, func(other string) bool { return sameFile(other, file) }); i >= 0 {
		d.problems.add(at, "include: %s includes itself: %s", file, strings.Join(append(slices.Clone(d.reading[i:]), file), ", "))
		return
	}
	if slices.ContainsFunc(d.site.sources, func(other sourceFile) bool { return sameFile(other.name, file) }) {
		d.problems.add(at, "include: %s is included already", file)
		return
	}
	source, err := os.ReadFile(file)
	if err != nil {
		d.problems.add(at, "include: %s: %w", file, reason(err))
		return
	}
	d.read(file, source)
}

// sameFile reports whether two names lead to one file.
func sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
