// Command typecheck checks that the packages of this module, and their tests, compile on other systems:
//
//	go run ./scripts/typecheck linux/arm64 darwin/arm64
//
// It reads all packages from source and checks their types, but generates no code. That finds what a build finds, in a
// small part of the time. Imported packages are read without the bodies of their functions.
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	failed := false
	for _, platform := range os.Args[1:] {
		system, processor, found := strings.Cut(platform, "/")
		if !found {
			fmt.Fprintf(os.Stderr, "typecheck: %q is not of the form linux/arm64\n", platform)
			os.Exit(2)
		}
		problems, err := check(system, processor)
		if err != nil {
			fmt.Fprintln(os.Stderr, "typecheck:", err)
			os.Exit(1)
		}
		fmt.Printf("%s: %d problems\n", platform, len(problems))
		for _, p := range problems {
			fmt.Println("  " + p)
		}
		failed = failed || len(problems) > 0
	}
	if failed {
		os.Exit(1)
	}
}

// check returns what does not compile on a system.
func check(system, processor string) (problems []string, err error) {
	roots, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedModule,
		Env:   append(os.Environ(), "GOOS="+system, "GOARCH="+processor, "CGO_ENABLED=0"),
		Tests: true,
	}, "./...")
	if err != nil {
		return nil, err
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%s/%s: no packages", system, processor)
	}
	told := map[string]bool{} // a package is there once more with its tests
	packages.Visit(roots, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			if text := e.Error(); !told[text] {
				told[text] = true
				problems = append(problems, text)
			}
		}
	})
	return problems, nil
}
