package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	_ "github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	_ "github.com/pagi-go/pagi-bridge/middleware"
)

// notRegistered are exported parts that no site file names, with the reason.
var notRegistered = map[string]string{
	"apps.URLMap":      "the list of mounts of a site is one",
	"middleware.HTTP":  "it is a Go function",
	"middleware.Stack": "a site file has lists of middleware",
	"middleware.When":  "it is the keys when and unless of every middleware",
	"apps.SSEStream":   "its events are a Go function",
	"apps.SendFile":    "it is around an application, by the mount's keys sendfile and accel_redirect",
}

// Every exported struct that is a middleware, and every one in apps that is an
// application, is registered under a name for site files.
func TestEveryPartHasANameInSiteFiles(t *testing.T) {
	registered := map[string]bool{}
	for _, name := range parts.MiddlewareNames() {
		registered[reflect.TypeOf(parts.NewMiddleware(name)).Elem().String()] = true
	}
	for _, name := range parts.KindNames() {
		kind, _ := parts.KindOf(name)
		registered[reflect.TypeOf(kind.New()).Elem().String()] = true
	}
	found := 0
	for dir, method := range map[string]string{"middleware": "Wrap", "apps": "Serve"} {
		for _, name := range typesWith(t, "../../"+dir, method) {
			found++
			_, excused := notRegistered[dir+"."+name]
			switch part := dir + "." + name; {
			case !registered[part] && !excused:
				t.Errorf("%s has a method %s and no name in site files: register it beside its declaration (internal/parts)", part, method)
			case registered[part] && excused:
				t.Errorf("%s is registered; take it off the list of those that are not", part)
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d parts: the test looks in the wrong place", found)
	}
}

// typesWith returns the exported types below a directory that have a method.
func typesWith(t *testing.T, dir, method string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, is := decl.(*ast.FuncDecl)
			if !is || f.Recv == nil || f.Name.Name != method {
				continue
			}
			receiver := f.Recv.List[0].Type
			if star, is := receiver.(*ast.StarExpr); is {
				receiver = star.X
			}
			if name, is := receiver.(*ast.Ident); is && name.IsExported() {
				names = append(names, name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
