package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	// A node of the drawing in docs/architecture.md: `id["bridge/psgi<br>PSGI apps"]`.
	drawnNode = regexp.MustCompile(`(\w+)\["([a-z0-9/]+)<br>`)
	// An arrow, with or without the labels of its ends.
	drawnArrow = regexp.MustCompile(`^\s*(\w+)(?:\[[^\]]*\])? --> (\w+)`)
)

// notDrawn are packages that are no rooms of the house: what is built or measured with it, and
// small helpers that any room may use.
var notDrawn = []string{"bench/...", "examples/...", "scripts/...", "internal/...", "bridge/internal/...", "bridge/cgi/testdata/..."}

// The first drawing of docs/architecture.md shows all rooms. An arrow is an import, and every
// import between two rooms is an arrow, or follows from several.
func TestTheDrawingShowsTheImports(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, drawing, _ := strings.Cut(string(page), "```mermaid\n")
	drawing, _, _ = strings.Cut(drawing, "```")
	rooms, arrows := map[string]string{}, map[string][]string{}
	for _, m := range drawnNode.FindAllStringSubmatch(drawing, -1) {
		rooms[m[1]] = m[2]
	}
	for line := range strings.Lines(drawing) {
		if m := drawnArrow.FindStringSubmatch(line); m != nil {
			arrows[rooms[m[1]]] = append(arrows[rooms[m[1]]], rooms[m[2]])
		}
	}
	if len(rooms) < 15 || len(arrows) < 10 {
		t.Fatalf("only %d rooms and arrows from %d were found; has the drawing's form changed?", len(rooms), len(arrows))
	}
	drawn := slices.Collect(maps.Values(rooms))
	imported := map[[2]string]bool{}
	for pkg, deps := range imports(t, "../..") {
		room := roomOf(drawn, pkg)
		if room == "" {
			if !slices.ContainsFunc(notDrawn, func(p string) bool { return matches(p, pkg) }) {
				t.Errorf("package %s is not drawn", pkg)
			}
			continue
		}
		for _, dep := range deps {
			if to := roomOf(drawn, dep); to != "" && to != room {
				imported[[2]string{room, to}] = true
			}
		}
	}
	for from, tos := range arrows {
		for _, to := range tos {
			if !imported[[2]string{from, to}] {
				t.Errorf("the drawing has an arrow from %q to %q, which is no import", from, to)
			}
		}
	}
	for pair := range imported {
		if !reaches(arrows, pair[0], pair[1]) {
			t.Errorf("%s imports %s, which the drawing does not show", pair[0], pair[1])
		}
	}
}

// roomOf returns the drawn room that a package belongs to, "" where there is none.
func roomOf(drawn []string, pkg string) (room string) {
	for _, d := range drawn {
		if (pkg == d || strings.HasPrefix(pkg, d+"/")) && len(d) > len(room) {
			room = d
		}
	}
	return room
}

// reaches reports whether arrows lead from one room to another.
func reaches(arrows map[string][]string, from, to string) bool {
	seen, next := map[string]bool{}, []string{from}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		for _, n := range arrows[at] {
			if n == to {
				return true
			}
			if !seen[n] {
				seen[n] = true
				next = append(next, n)
			}
		}
	}
	return false
}

// imports returns what each package of the module imports of the module, tests left out.
func imports(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || nestedModule(root, path)):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if _, ok := found[pkg]; !ok {
			found[pkg] = nil
		}
		for _, i := range file.Imports {
			if dep, err := strconv.Unquote(i.Path.Value); err == nil {
				if dep, own := strings.CutPrefix(dep, module+"/"); own {
					found[pkg] = append(found[pkg], dep)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
