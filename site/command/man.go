package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/internal/nearest"
	"github.com/pagi-go/pagi-bridge/internal/roff"
)

// sitePage is the name of the manual page on site files.
const sitePage = "pagi-bridge.yaml"

// manCommand is the command "pagi-bridge man".
func manCommand() *command {
	c := newCommand("man", "[COMMAND]", "Print a manual page: that of pagi-bridge, or of one of its commands.")
	c.usage = []string{
		"pagi-bridge man | man -l -", "pagi-bridge man status | man -l -", "pagi-bridge man " + sitePage + " | man -l -   (the keys of site files)",
	}
	dir := c.flags.String("output", "", "write all pages into the directory `DIR` instead, which must exist")
	c.run = func(_ context.Context, p Process) int {
		name := c.flags.Arg(0)
		switch {
		case c.flags.NArg() > 1:
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(1)))
		case *dir != "" && name != "":
			return complain(p, ExitUsage, errors.New("--output writes all pages; leave the name out"))
		case *dir != "":
			if err := writePages(*dir); err != nil {
				return complain(p, ExitFailure, err)
			}
			return ExitOK
		}
		page, err := manPage(name)
		if err != nil {
			return complain(p, ExitUsage, err)
		}
		return say(p, page)
	}
	return c
}

// manPage returns the page on a command, "" for the program itself.
func manPage(name string) (string, error) {
	known := append(commandNames(), sitePage)
	switch make, is := commands[name]; {
	case name == "" || name == "pagi-bridge":
		return programPage()
	case name == sitePage:
		return siteFilePage(), nil
	case is:
		return commandPage(make()), nil
	}
	return "", fmt.Errorf("there is no page on %q%s", name, nearest.Suggestion(name, "", known))
}

// writePages writes all pages, each with the name that the program man looks for.
func writePages(dir string) error {
	files := map[string]string{"": "pagi-bridge.1", sitePage: sitePage + ".5"}
	for _, name := range commandNames() {
		files[name] = "pagi-bridge-" + name + ".1"
	}
	for name, file := range files {
		page, err := manPage(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(page), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const userManual, fileManual = "User Commands", "File Formats"

// programPage returns pagi-bridge(1), which is made of --help.
func programPage() (string, error) {
	o, err := parseFlags([]string{"--help"})
	if err != nil {
		return "", err
	}
	p := roff.New("pagi-bridge", 1, version(), userManual)
	p.Section("name")
	p.Text("pagi-bridge - serve Perl web software and Go code under one address")
	p.Section("synopsis")
	for _, u := range usages {
		p.Item("`"+u.line+"`", u.does)
	}
	p.Section("description")
	p.Text(programDescription)
	p.Section("options")
	flagItems(p, o.set)
	p.Section("commands")
	for _, name := range commandNames() {
		c := commands[name]()
		p.Item("`"+name+"` "+capitals.ReplaceAllString(c.arguments, "_${0}_"), c.summary()+": see `pagi-bridge-"+name+"`(1).")
	}
	for _, s := range programSections {
		p.Section(s.title)
		for _, item := range s.items {
			p.Item("`"+item[0]+"`", item[1])
		}
		if s.text != "" {
			p.Text(strings.ToUpper(s.text[:1]) + s.text[1:])
		}
	}
	p.Section("see also")
	p.Text(seeAlso("pagi-bridge"))
	return p.String(), nil
}

// commandPage returns the page on a command.
func commandPage(c *command) string {
	c.declareHelp()
	name := "pagi-bridge-" + c.name
	p := roff.New(name, 1, version(), userManual)
	p.Section("name")
	p.Text(name + " - " + lowerFirst(c.summary()))
	p.Section("synopsis")
	p.Code(strings.Join(c.usageLines(), "\n"))
	p.Section("description")
	p.Text(c.does)
	if c.notes != "" {
		p.Paragraph(c.notes)
	}
	p.Section("options")
	flagItems(p, c.flags)
	p.Section("see also")
	p.Text(seeAlso(name))
	return p.String()
}

// seeAlso lists the other pages.
func seeAlso(except string) string {
	var all []string
	for _, name := range slices.Concat([]string{"pagi-bridge"}, prefixed("pagi-bridge-", commandNames())) {
		if name != except {
			all = append(all, "`"+name+"`(1)")
		}
	}
	if except != sitePage {
		all = append(all, "`"+sitePage+"`(5)")
	}
	return strings.Join(all, ",\n")
}

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = prefix + name
	}
	return all
}

// flagItems adds the flags of a set.
func flagItems(p *roff.Page, set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		value, text := pflag.UnquoteUsage(f)
		tag := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			tag = "`-" + f.Shorthand + "`, " + tag
		}
		if value != "" && value != "bool" {
			tag += placeholder(value)
		}
		p.Item(tag, strings.ToUpper(text[:1])+text[1:]+defaultText(f)+".")
	})
}

// defaultText returns the default of a flag as the help has it.
func defaultText(f *pflag.Flag) string {
	if f.DefValue == "" || f.DefValue == "0" || f.DefValue == "false" || f.DefValue == "[]" || strings.Contains(f.Usage, "(default") || strings.Contains(f.Usage, "; default") {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// capitals are the words that stand for values.
var capitals = regexp.MustCompile(`[A-Z]+`)

// placeholder marks what a value stands for.
func placeholder(text string) string {
	if text == "" {
		return ""
	}
	return " _" + strings.ToUpper(text) + "_"
}

func lowerFirst(text string) string { return strings.ToLower(text[:1]) + text[1:] }
