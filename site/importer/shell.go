package importer

import (
	"path/filepath"
	"strings"
)

// shell is what the lines before a command have set.
type shell struct {
	dir string
	env fields
}

// line takes a line of a script. It reports false if it has a command that is none of a PSGI server.
func (s *shell) line(c *conf, line string, at place) bool {
	known := true
	for _, command := range commandsOf(line) {
		w := words(command)
		switch {
		case len(w) == 0:
		case w[0] == "cd" && len(w) == 2:
			s.cd(w[1])
		case w[0] == "export":
			name, value, is := strings.Cut(strings.TrimSpace(strings.TrimPrefix(command, "export")), "=")
			if v := words(value); is && len(v) > 0 {
				s.env.set(name, v[0])
			}
		default:
			known = c.command(command, s.dir, at, s.env) && known
		}
	}
	return known
}

func (s *shell) cd(dir string) {
	if filepath.IsAbs(dir) {
		s.dir = dir
	} else {
		s.dir = filepath.Join(s.dir, dir)
	}
}

// commandsOf splits a line at && and at semicolons that are not in quotes.
func commandsOf(line string) (commands []string) {
	var quote byte
	begin := 0
	for i := 0; i < len(line); i++ {
		end := 0
		switch b := line[i]; {
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '"' || b == '\'':
			quote = b
		case b == ';':
			end = 1
		case strings.HasPrefix(line[i:], "&&"):
			end = 2
		}
		if end > 0 {
			commands = append(commands, strings.TrimSpace(line[begin:i]))
			begin = i + end
			i = begin - 1
		}
	}
	return append(commands, strings.TrimSpace(line[begin:]))
}
