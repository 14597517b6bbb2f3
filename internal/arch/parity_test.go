package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A name in docs/parity.md: `package.Symbol`.
var parityName = regexp.MustCompile("`([a-z0-9]+)\\.([A-Z][A-Za-z0-9]*)`")

// Every symbol and every test that docs/parity.md names exists.
func TestParityNamesWhatExists(t *testing.T) {
	page, err := os.ReadFile("../../docs/parity.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := declarations(t, "../..")
	names := parityName.FindAllSubmatch(page, -1)
	if len(names) < 40 {
		t.Fatalf("only %d names were found; has the page's form changed?", len(names))
	}
	for _, m := range names {
		if name := string(m[1]) + "." + string(m[2]); !declared[name] {
			t.Errorf("docs/parity.md names %s, which does not exist", name)
		}
	}
}

// declarations returns "package.Name" for every exported declaration and test.
func declarations(t *testing.T, root string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := strings.TrimSuffix(file.Name.Name, "_test")
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					found[pkg+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok {
						found[pkg+"."+s.Name.Name] = true
					}
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
