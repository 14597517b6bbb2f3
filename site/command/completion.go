package command

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/docs"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/site/importer"
)

// shells have a script each, which asks this program what may come next.
//
//go:embed shell/bash shell/zsh shell/fish
var shells embed.FS

var shellNames = []string{"bash", "zsh", "fish"}

// completionTime is how long a completion may ask a gateway for the names of its mounts.
const completionTime = time.Second

// completionCommand is the command "pagi-bridge completion".
func completionCommand() *command {
	c := newCommand("completion", "SHELL", "Print the completion of commands, flags and values for a shell: bash, zsh or fish.")
	c.usage = []string{
		"pagi-bridge completion bash > /etc/bash_completion.d/pagi-bridge",
		"pagi-bridge completion zsh > \"${fpath[1]}/_pagi-bridge\"",
		"pagi-bridge completion fish > ~/.config/fish/completions/pagi-bridge.fish",
	}
	asked := c.flags.Bool("complete", false, "for these scripts: print what may come next, behind -- and the words so far")
	c.run = func(ctx context.Context, p Process) int {
		if *asked {
			return say(p, complete(ctx, c.flags.Args()).String())
		}
		name := c.flags.Arg(0)
		if c.flags.NArg() != 1 || !slices.Contains(shellNames, name) {
			return complain(p, ExitUsage, errors.New("name a shell: "+strings.Join(shellNames, ", ")))
		}
		text, err := shells.ReadFile("shell/" + name)
		if err != nil {
			return complain(p, ExitFailure, err)
		}
		return say(p, string(text))
	}
	return c
}

// candidates are what may come next on a command line.
type candidates struct {
	prefix string // what the word begins with; all others are left out
	before string // in front of each candidate, for a shell that takes "--flag=value" for one word
	files  string // ":files", ":directories" or "": which files may come also
	lines  []string
}

// add adds a word with an explanation.
func (c *candidates) add(word, does string) {
	if !strings.HasPrefix(word, c.prefix) || strings.ContainsAny(word, "\n\t") {
		return
	}
	line := c.before + word
	if does = strings.Join(strings.Fields(does), " "); does != "" {
		line += "\t" + does
	}
	c.lines = append(c.lines, line)
}

// String returns a line for each candidate: the word, and after a tab an explanation. A line that begins with a colon
// tells the shell to add names of files.
func (c *candidates) String() string {
	lines := c.lines
	if c.files != "" {
		lines = append([]string{c.files}, lines...)
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// complete returns what may come in place of the last word behind "pagi-bridge".
func complete(ctx context.Context, line []string) *candidates {
	line, cut := joinEquals(line)
	if len(line) == 0 {
		line = []string{""}
	}
	now, earlier := line[len(line)-1], line[:len(line)-1]
	out := &candidates{prefix: now}
	set, cmd := gatewayFlags(), (*command)(nil)
	if len(earlier) > 0 && commands[earlier[0]] != nil {
		cmd = commands[earlier[0]]()
		cmd.declareHelp()
		set, earlier = cmd.flags, earlier[1:]
	}
	wants, arguments, noFlags := walk(set, earlier)
	switch name, value, hasValue := strings.Cut(now, "="); {
	case wants != nil:
		out.value(wants)
	case strings.HasPrefix(now, "--") && hasValue && !noFlags:
		if f := set.Lookup(strings.TrimPrefix(name, "--")); f != nil {
			out.prefix, out.before = value, name+"="
			if cut { // the shell replaces the part behind the equals sign
				out.before = ""
			}
			out.value(f)
		}
	case strings.HasPrefix(now, "-") && !noFlags:
		out.flags(set)
	case cmd == nil && len(arguments) == 0:
		out.files = ":files"
		if len(earlier) == 0 {
			for _, name := range commandNames() {
				out.add(name, commands[name]().summary())
			}
			for _, name := range slices.Sorted(maps.Keys(words)) {
				out.add(name, "the same as "+words[name])
			}
		}
	case cmd == nil:
		out.files = ":files"
	default:
		out.argument(ctx, cmd, arguments, earlier)
	}
	return out
}

// joinEquals puts "--flag", "=" and "value" together, into which bash cuts a word. cut says that it has cut the last one.
func joinEquals(words []string) (joined []string, cut bool) {
	for i, w := range words {
		last := len(joined) - 1
		cut = false
		switch {
		case w == "=" && last >= 0 && strings.HasPrefix(joined[last], "--"), i > 0 && words[i-1] == "=" && last >= 0 && strings.HasSuffix(joined[last], "="):
			joined[last] += w
			cut = true
		default:
			joined = append(joined, w)
		}
	}
	return joined, cut
}

// gatewayFlags are the flags without a command.
func gatewayFlags() *pflag.FlagSet {
	o := &options{set: pflag.NewFlagSet("pagi-bridge", pflag.ContinueOnError)}
	o.define()
	return o.set
}

// walk reads the words so far. wants is the flag whose value comes next, nil if none does. noFlags says that "--" has come.
func walk(set *pflag.FlagSet, words []string) (wants *pflag.Flag, arguments []string, noFlags bool) {
	for _, w := range words {
		switch {
		case wants != nil:
			wants = nil
		case noFlags || !strings.HasPrefix(w, "-") || w == "-":
			arguments = append(arguments, w)
		case w == "--":
			noFlags = true
		case strings.HasPrefix(w, "--"):
			if f := set.Lookup(w[2:]); f != nil && f.NoOptDefVal == "" {
				wants = f
			}
		default:
			if f := set.ShorthandLookup(w[len(w)-1:]); f != nil && f.NoOptDefVal == "" {
				wants = f
			}
		}
	}
	return wants, arguments, noFlags
}

// flags adds the flags of a set.
func (c *candidates) flags(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		_, text := pflag.UnquoteUsage(f)
		c.add("--"+f.Name, text)
	})
}

// value adds what the value of a flag may be: by what its help calls it, or by the values that docs/site.md lists.
func (c *candidates) value(f *pflag.Flag) {
	row, _ := docs.Find(docs.Site, settingOf(f.Name))
	for _, v := range row.Values() {
		c.add(v, "")
	}
	switch name, _ := pflag.UnquoteUsage(f); name {
	case "FILE", "PATH", "DIR|SCRIPT", "PERL", "PLACE":
		c.files = ":files"
	case "DIR", "DIRS":
		c.files = ":directories"
	case "FORMAT":
		for _, format := range importer.Formats {
			c.add(string(format), "")
		}
	case "ENV":
		for _, env := range []string{"development", "production", "deployment", "none"} {
			c.add(env, "")
		}
	}
}

// argument adds what may come behind the name of a command.
func (c *candidates) argument(ctx context.Context, cmd *command, arguments, earlier []string) {
	places := strings.Fields(cmd.arguments)
	if len(places) == 0 {
		return
	}
	place := places[min(len(arguments), len(places)-1)]
	if len(arguments) >= len(places) && !strings.HasSuffix(place, "...") && cmd.takeWord == nil {
		return
	}
	switch place = strings.Trim(place, "[]."); place {
	case "FILE":
		c.files = ":files"
	case "LEVEL":
		for _, level := range logLevels {
			c.add(level, "")
		}
	case "SHELL":
		for _, name := range shellNames {
			c.add(name, "")
		}
	case "COMMAND":
		for _, name := range append(commandNames(), sitePage) {
			c.add(name, "")
		}
	case "MOUNT", "JOB":
		g, err := askRunning(ctx, cmd, earlier)
		if err != nil { // a completion has no place for an error
			return
		}
		if place == "JOB" {
			for _, job := range g.Cron {
				c.add(job.Job, "")
			}
			return
		}
		for _, m := range g.Mounts {
			c.add(m.Mount, fmt.Sprintf("%s %s", m.Kind, m.Source))
		}
	default:
		if strings.Contains(place, "|") {
			for word := range strings.SplitSeq(place, "|") {
				c.add(word, "")
			}
		}
	}
}

// askRunning asks the gateway that the flags so far name.
func askRunning(ctx context.Context, cmd *command, earlier []string) (*status.Gateway, error) {
	set := pflag.NewFlagSet(cmd.name, pflag.ContinueOnError)
	set.Usage = func() {}
	set.SetOutput(io.Discard)
	set.ParseErrorsAllowlist.UnknownFlags = true
	find := socketFlags(set)
	if err := set.Parse(earlier); err != nil {
		return nil, err
	}
	socket, err := find()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	return askStatus(ctx, socket)
}
