package command

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// command is what the first argument names, as in "pagi-bridge status". Its declaration is also that of its help, its
// manual page and what a shell completes.
type command struct {
	name string
	// arguments are the words behind the name, in capital letters where a value stands for them: "[MOUNT]". Completion knows
	// MOUNT, LEVEL, JOB, COMMAND, SHELL, FILE and words with "|" between them.
	arguments string
	// does is what the help begins with. Its first sentence is the summary.
	does string
	// usage are the lines below "Usage:" without the indent; none means those of name, arguments and the flags of a socket.
	usage []string
	// notes follow the usage in the help, "" means none.
	notes string
	flags *pflag.FlagSet
	// reads says that the command only reads site files, so that a signal ends it at once.
	reads bool
	// takeWord takes the word in front of the flags, nil if there is none.
	takeWord func(word string)
	// run carries the command out. The flags are parsed.
	run func(ctx context.Context, p Process) int

	help bool
}

// commands make each command by its name.
var commands map[string]func() *command

// init breaks a cycle: commands that describe commands are among them.
func init() {
	commands = map[string]func() *command{
		"status": statusCommand, "top": topCommand, "drain": drainCommand, "routes": routesCommand, "import": importCommand,
		"plugin": pluginCommand, "healthcheck": healthcheckCommand,
		"schema": schemaCommand, "man": manCommand, "completion": completionCommand,
	}
	for name := range orders {
		commands[name] = func() *command { return orderCommand(name) }
	}
}

// commandNames returns the names of all commands, sorted.
func commandNames() []string { return slices.Sorted(maps.Keys(commands)) }

// newCommand returns a command with its own flags.
func newCommand(name, arguments, does string) *command {
	c := &command{name: name, arguments: arguments, does: does, flags: pflag.NewFlagSet("pagi-bridge "+name, pflag.ContinueOnError)}
	c.flags.SortFlags = false
	c.flags.Usage = func() {}
	return c
}

// summary returns the first sentence of what the command does, without the full stop.
func (c *command) summary() string {
	text, _, _ := strings.Cut(strings.ReplaceAll(c.does, "\n", " "), ". ")
	text, _, _ = strings.Cut(text, ": ")
	return strings.TrimSuffix(text, ".")
}

// usageLines returns the lines below "Usage:".
func (c *command) usageLines() []string {
	if c.usage != nil {
		return c.usage
	}
	line := strings.TrimSpace("pagi-bridge " + c.name + " " + c.arguments)
	if c.flags.Lookup("status-socket") != nil {
		line += " --status-socket PATH | -c site.yaml"
	}
	return []string{line}
}

// declareHelp adds the flag that all commands have, as the last one.
func (c *command) declareHelp() {
	if c.flags.Lookup("help") == nil {
		c.flags.BoolVarP(&c.help, "help", "h", false, "print this help")
	}
}

// helpText returns the answer of --help.
func (c *command) helpText() string {
	text := c.does + "\n\nUsage:\n  " + strings.Join(c.usageLines(), "\n  ") + "\n\n"
	if c.notes != "" {
		text += c.notes + "\n\n"
	}
	return text + "Options:\n" + c.flags.FlagUsagesWrapped(100)
}

// carryOut parses the arguments behind the name of the command and runs it.
func (c *command) carryOut(ctx context.Context, args []string, p Process) int {
	if c.reads {
		p.beginning.isTest()
	} else {
		p.beginning.isOver()
	}
	c.declareHelp()
	if c.takeWord != nil && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		c.takeWord(args[0])
		args = args[1:]
	}
	if err := c.flags.Parse(args); err != nil {
		return complain(p, ExitUsage, err)
	}
	if c.help {
		return say(p, c.helpText())
	}
	return c.run(ctx, p)
}
