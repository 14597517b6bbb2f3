package importer

import (
	"path/filepath"
	"strings"
)

// procfile reads a Procfile, of which the process web is the site.
func (c *conf) procfile(file, text string) error {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	for _, l := range logicalLines(text) {
		at := place{file, l.number, l.text}
		name, command, is := strings.Cut(l.text, ":")
		command = strings.TrimSpace(command)
		switch {
		case !is:
			c.leave(at, "this is no line of a Procfile")
		case name != "web":
			c.leave(at, "processes beside the application are not started: write a unit of systemd for it")
		case !(&shell{dir: dir}).line(c, command, at):
			c.leave(at, "this is no command of a PSGI server that is known: let it listen at another port, and write a proxy mount")
		}
	}
	return nil
}
