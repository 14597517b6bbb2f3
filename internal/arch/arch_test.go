// Package arch holds no code. Its tests keep the packages of this module on their floors, so that
// imports only go down.
package arch

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pagi-go/pagi-bridge"

// A room may import itself and the packages listed as below it, and nothing else of this module. A
// pattern that ends in "/..." includes the packages under it. Rooms are tried in this order; the
// first whose pattern matches a package is its room.
var rooms = []struct {
	room  string
	below []string
}{
	{"internal/headername", nil},
	{"pagi/lifespan", []string{"pagi"}},
	{"pagi/engine", []string{"pagi", "internal/..."}},
	{"pagi/nethttp", []string{"pagi", "pagi/request", "pagi/engine", "server/ws", "internal/..."}},
	{"pagi/pagitest/socket", []string{"pagi", "pagi/lifespan", "pagi/engine", "pagi/pagitest", "server"}},
	{"pagi/pagitest", []string{"pagi", "pagi/lifespan", "pagi/engine", "internal/..."}},
	{"pagi/endpoint", []string{"pagi", "pagi/scopekey", "pagi/request", "pagi/response", "pagi/session", "pagi/websocket", "pagi/sse", "pagi/lifespan", "internal/..."}},
	{"pagi/scopekey", []string{"pagi"}},
	{"pagi/request", []string{"pagi", "pagi/scopekey", "internal/..."}},
	{"pagi/response", []string{"pagi", "pagi/lifespan", "internal/..."}},
	{"pagi/session/boltstore", []string{"pagi", "pagi/session", "internal/..."}},
	{"pagi/session/redisstore", []string{"pagi", "pagi/session", "internal/..."}},
	{"pagi/session/internal/storetest", []string{"pagi", "pagi/session", "internal/..."}},
	{"pagi/session", []string{"pagi", "pagi/scopekey", "pagi/lifespan", "internal/..."}},
	{"pagi/pubsub/redispubsub", []string{"pagi", "pagi/pubsub", "pagi/pubsub/internal/message", "internal/..."}},
	{"pagi/pubsub/natspubsub/natsserver", []string{"pagi"}},
	{"pagi/pubsub/natspubsub", []string{"pagi", "pagi/pubsub", "pagi/pubsub/internal/message"}},
	{"pagi/pubsub/internal/message", []string{"pagi/pubsub"}},
	{"pagi/pubsub/pubsubtest", []string{"pagi/pubsub"}},
	{"pagi/pubsub", []string{"pagi"}},
	{"pagi/websocket", []string{"pagi", "pagi/scopekey", "pagi/request", "pagi/response", "internal/..."}},
	{"pagi/sse", []string{"pagi", "pagi/scopekey", "pagi/request", "pagi/response", "internal/..."}},
	{"pagi", []string{"internal/headername"}},
	{"internal/reply", []string{"pagi"}},
	{"internal/errorpage", []string{"pagi"}},
	{"internal/lint", []string{"pagi", "internal/reply"}},
	{"internal/parts", []string{"pagi"}},
	{"internal/ending", []string{"pagi"}},
	{"internal/spans/...", []string{"pagi"}},
	{"internal/tracing", []string{"pagi", "pagi/engine", "internal/..."}},
	{"internal/httpfile", []string{"pagi", "internal/reply"}},
	{"internal/metavars", []string{"pagi"}},
	{"internal/slow", []string{"pagi", "pagi/scopekey", "internal/..."}},
	{"internal/routing", []string{"pagi", "pagi/scopekey", "pagi/lifespan", "internal/..."}},
	{"internal/...", nil},
	{"middleware/...", []string{"pagi", "pagi/nethttp", "pagi/scopekey", "pagi/request", "pagi/response", "pagi/session", "pagi/session/boltstore", "pagi/session/redisstore", "pagi/websocket", "pagi/sse", "pagi/lifespan", "internal/..."}},
	{"apps/...", []string{"pagi", "pagi/pubsub", "pagi/scopekey", "pagi/request", "pagi/response", "pagi/session", "pagi/websocket", "pagi/sse", "pagi/lifespan", "internal/..."}},
	{"server/ws", []string{"pagi", "pagi/engine", "internal/..."}},
	{"server/accesslog", []string{"pagi", "pagi/engine", "internal/..."}},
	{"server/...", []string{"pagi", "pagi/lifespan", "pagi/engine", "pagi/nethttp", "internal/..."}},
	{"perl", nil},
	{"bridge/internal/answerfile", []string{"bridge/wire/..."}},
	{"bridge/internal/fakeworker", []string{"bridge/wire/...", "internal/..."}},
	{"bridge/internal/leased", []string{"bridge/lease", "bridge/worker"}},
	{"bridge/internal/...", []string{"pagi", "internal/..."}},
	{"bridge/wire/...", []string{"pagi", "pagi/scopekey", "internal/..."}},
	{"bridge/mux/...", []string{"pagi", "pagi/engine", "pagi/scopekey", "bridge/wire/...", "bridge/worker/...", "bridge/internal/...", "internal/..."}},
	{"bridge/worker/...", []string{"bridge/wire/...", "bridge/internal/...", "internal/..."}},
	{"bridge/lease/...", []string{"bridge/wire/...", "bridge/worker/...", "bridge/internal/...", "internal/..."}},
	{"bridge/pool/...", []string{"bridge/wire/...", "bridge/worker/...", "bridge/internal/...", "internal/..."}},
	{"bridge/cgi/internal/...", []string{"internal/..."}},
	{"bridge/cgi/perlfork", []string{"perl", "bridge/cgi/internal/...", "internal/..."}},
	{"bridge/perlpagi/...", []string{"pagi", "pagi/lifespan", "perl", "bridge/wire/...", "bridge/worker/...", "bridge/lease/...", "bridge/mux/...", "bridge/internal/...", "internal/..."}},
	{"bridge/psgi/...", []string{"pagi", "pagi/scopekey", "pagi/request", "pagi/lifespan", "perl", "bridge/wire/...", "bridge/worker/...", "bridge/pool/...", "bridge/lease/...", "bridge/perlpagi/...", "bridge/internal/...", "internal/..."}},
	{"bridge/...", []string{"pagi", "pagi/scopekey", "pagi/request", "pagi/lifespan", "perl", "bridge/wire/...", "bridge/worker/...", "bridge/pool/...", "bridge/internal/...", "internal/..."}},
	{"plugin/adapter", []string{"pagi", "pagi/lifespan", "apps", "bridge/...", "plugin/internal/...", "internal/..."}},
	{"plugin/adapters", []string{"pagi", "pagi/lifespan", "bridge/...", "plugin/adapter", "plugin/internal/...", "internal/..."}},
	{"plugin/...", []string{"pagi", "pagi/lifespan", "pagi/pagitest", "perl", "bridge/...", "internal/..."}},
	{"site/importer", nil},
	{"docs", nil},
	{"site/...", []string{"pagi", "pagi/...", "perl", "middleware/...", "apps/...", "server/...", "bridge/...", "plugin/...", "internal/...", "docs"}},
	{"scripts/...", nil},
	{"cmd/...", []string{"pagi", "site/...", "plugin/...", "internal/..."}},
	{"examples/...", []string{"pagi", "pagi/...", "middleware/...", "apps/...", "server/...", "bridge/...", "plugin/...", "site/..."}},
	{"bench/...", []string{"pagi", "pagi/...", "middleware/...", "apps/...", "server/...", "bridge/...", "plugin/...", "site/...", "internal/..."}},
}

func matches(pattern, pkg string) bool {
	if stem, deep := strings.CutSuffix(pattern, "/..."); deep {
		return pkg == stem || strings.HasPrefix(pkg, stem+"/")
	}
	return pkg == pattern
}

// forbidden says why pkg must not import dep, or "". Both are relative to the
// module.
func forbidden(pkg, dep string) string {
	for _, r := range rooms {
		if !matches(r.room, pkg) {
			continue
		}
		if matches(r.room, dep) || slices.ContainsFunc(r.below, func(p string) bool { return matches(p, dep) }) {
			return ""
		}
		return fmt.Sprintf("%s may import only %s", r.room, strings.Join(append([]string{"itself"}, r.below...), ", "))
	}
	return "package " + pkg + " has no floor: give it one in internal/arch/arch_test.go"
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		pkg, dep string
		ok       bool
	}{
		{"pagi", "internal/spool", false},
		{"pagi", "pagi/engine", false},
		{"apps", "pagi/engine", false},
		{"middleware", "pagi/nethttp", true},
		{"server", "pagi/engine", true},
		{"server", "pagi", true},
		{"server", "bridge/psgi", false},
		{"server/internal/http", "pagi", true},
		{"bridge/psgi", "bridge/pool", true},
		{"bridge/pool", "bridge/psgi", false},
		{"bridge/pool", "bridge/worker", true},
		{"bridge/worker", "bridge/pool", false},
		{"bridge/worker", "pagi", false},
		{"bridge/psgi", "server", false},
		{"bridge/cgi", "bridge/cgi/perlfork", true},
		{"bridge/cgi/perlfork", "bridge/cgi", false},
		{"bridge/cgi/perlfork", "pagi", false},
		{"bridge/cgi/internal/job", "internal/proc", true},
		{"internal/proc", "bridge/pool", false},
		{"apps", "bridge/wire", false},
		{"middleware", "server", false},
		{"site", "cmd/pagi-bridge", false},
		{"site", "bridge/cgi", true},
		{"pagi/pagitest", "apps", false},
		{"pagi/pagitest", "server", false},
		{"pagi/pagitest/socket", "server", true},
		{"unheard-of", "pagi", false},
	} {
		if got := forbidden(c.pkg, c.dep); (got == "") != c.ok {
			t.Errorf("%s imports %s: %q", c.pkg, c.dep, got)
		}
	}
}

// TestImportsGoDown reads the import clauses of every Go file of the module. Test files of an
// external test package may import any package.
func TestImportsGoDown(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") || nestedModule(root, file) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		return checkFile(t, file, filepath.ToSlash(rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("found no Go file: the test looks in the wrong place")
	}
}

func nestedModule(root, dir string) bool {
	if dir == root {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func checkFile(t *testing.T, file, pkg string) error {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		dep, ours := strings.CutPrefix(imported, module+"/")
		if !ours {
			if path.Clean(pkg) == "pagi" && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				t.Errorf("%s imports %s: pagi imports nothing but the standard library", set.Position(spec.Pos()), imported)
			}
			continue
		}
		if why := forbidden(pkg, dep); why != "" {
			t.Errorf("%s imports %s: %s", set.Position(spec.Pos()), dep, why)
		}
	}
	return nil
}
