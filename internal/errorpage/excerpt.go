package errorpage

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

const (
	maxExcerpts = 5       // on a page
	around      = 4       // lines before and behind the line in question
	maxSource   = 1 << 20 // bytes of a file that is looked into
)

// excerpt is a piece of a source file.
type excerpt struct {
	File  string
	Line  int
	Lines []line
}

type line struct {
	Number int
	Text   string
	Meant  bool
}

// Perl says "at FILE line N", Go "FILE:N" behind a tab. A message may have parts that come from the
// client, so only files with the names of source code are opened.
var (
	perlPlace = regexp.MustCompile(`\bat (/[^\n]+?) line (\d+)`)
	goPlace   = regexp.MustCompile(`(?m)^\t(/[^\n]+?\.go):(\d+)`)
	ofSource  = []string{".pm", ".pl", ".psgi", ".cgi", ".t", ".go"}
)

// excerpts returns the source around the places that a failure names, the innermost first.
func excerpts(message, stack string) (all []excerpt) {
	var places [][]string
	if own := perlPlace.FindAllStringSubmatch(message, -1); len(own) > 0 {
		places = own[len(own)-1:]
	}
	places = slices.Concat(places, perlPlace.FindAllStringSubmatch(stack, -1), goPlace.FindAllStringSubmatch(stack, -1))
	seen := map[string]bool{}
	for _, place := range places {
		key := place[1] + ":" + place[2]
		if len(all) == maxExcerpts || seen[key] || !slices.Contains(ofSource, filepath.Ext(place[1])) {
			continue
		}
		seen[key] = true
		number, err := strconv.Atoi(place[2])
		if err != nil {
			continue // more digits than a line number has
		}
		if lines := read(place[1], number); lines != nil {
			all = append(all, excerpt{place[1], number, lines})
		}
	}
	return all
}

// read returns the lines of a file around the one with the given number. It returns nil where the
// file has no such line.
func read(file string, number int) (lines []line) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close() // opened for reading
	found := false
	scanner := bufio.NewScanner(f)
	for n := 1; scanner.Scan() && n <= number+around; n++ {
		if n >= number-around {
			lines = append(lines, line{n, scanner.Text(), n == number})
			found = found || n == number
		}
	}
	if !found {
		return nil
	}
	return lines
}
