package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// includes are the files of a configuration that a parser is reading, each one included by the one before it.
type includes struct {
	root    string // of relative names: the directory of the first file, unless a directive names another one
	reading []string
}

// open returns the text of a file that is to be included.
func (i *includes) open(name string) (string, error) {
	if slices.Contains(i.reading, name) {
		return "", fmt.Errorf("%s: includes itself", name)
	}
	text, err := os.ReadFile(name)
	return string(text), err
}

// begin notes that a file is being read, until end is called.
func (i *includes) begin(name string) (end func()) {
	i.reading = append(i.reading, name)
	if i.root == "" {
		i.root = filepath.Dir(name)
	}
	return func() { i.reading = i.reading[:len(i.reading)-1] }
}
