package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Every option has a doc comment, its own or that of the field above which names it, and a
// comment that gives a default gives that of the tag.
func TestEveryOptionHasADocComment(t *testing.T) {
	found := 0
	for _, room := range []string{"apps", "bridge", "middleware", "pagi/engine", "server", "site"} {
		err := filepath.WalkDir(filepath.Join("../..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, is := n.(*ast.StructType); is {
					found += checkOptions(t, set, s)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 150 {
		t.Errorf("found only %d options: the test looks in the wrong place", found)
	}
}

// checkOptions checks the fields of a struct that stand in site files, and counts them.
func checkOptions(t *testing.T, set *token.FileSet, s *ast.StructType) (found int) {
	comment := ""
	for _, field := range s.Fields.List {
		if field.Doc != nil {
			comment = field.Doc.Text()
		}
		if field.Tag == nil || len(field.Names) == 0 {
			continue
		}
		text, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		tag := reflect.StructTag(text)
		if name := tag.Get("yaml"); name == "" || name == "-" {
			continue
		}
		found++
		name := field.Names[0].Name
		if field.Doc == nil && !strings.Contains(comment, name) {
			t.Errorf("%s: the option %s has no doc comment", set.Position(field.Pos()), name)
		}
		// "10 MiB" in a comment is "10MiB" in a tag.
		dense := strings.ReplaceAll(strings.Join(strings.Fields(comment), ""), "seconds", "s")
		if value := tag.Get("default"); value != "" && strings.Contains(strings.ToLower(comment), "default") && !strings.Contains(dense, value) {
			t.Errorf("%s: the default of %s is %s, which its doc comment does not say", set.Position(field.Pos()), name, value)
		}
	}
	return found
}
