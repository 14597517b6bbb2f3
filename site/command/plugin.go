package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/plugin/host"
	"github.com/pagi-go/pagi-bridge/plugin/verify"
)

// pluginCommand is the command "pagi-bridge plugin".
func pluginCommand() *command {
	c := newCommand("plugin", "verify|describe FILE", "Verify or describe a plugin.")
	c.usage, c.notes = []string{
		"pagi-bridge plugin verify [options] ./my-plugin [arguments]     do what a gateway does with it, and say what is wrong",
		"pagi-bridge plugin describe [options] ./my-plugin [arguments]   print its name and its options",
	}, "Exit codes: 0 all is well, 1 something is wrong with the plugin, 2 wrong flags."
	flags := c.flags
	flags.SetInterspersed(false) // what follows the program is its own
	protocol := flags.String("protocol", host.ProtocolGRPC, "how it talks to the gateway: grpc or `wire`")
	config := flags.String("config", "", "its options, as a `JSON` object")
	path := flags.String("path", "/", "the `PATH` that requests ask for")
	asJSON := flags.Bool("json", false, "with describe: print JSON instead of a table")
	what := ""
	c.takeWord = func(word string) { what = word }
	c.run = func(ctx context.Context, p Process) int {
		return examinePlugin(ctx, what, flags, *protocol, *config, *path, *asJSON, p)
	}
	return c
}

func examinePlugin(ctx context.Context, what string, flags *pflag.FlagSet, protocol, config, path string, asJSON bool, p Process) int {
	var options map[string]any
	switch {
	case what != "verify" && what != "describe":
		return complain(p, ExitUsage, fmt.Errorf("plugin: must be followed by verify or describe, is %q", what), "Try 'pagi-bridge plugin --help'.")
	case flags.NArg() == 0:
		return complain(p, ExitUsage, errors.New("name the program of the plugin"))
	case config != "":
		if err := json.Unmarshal([]byte(config), &options); err != nil {
			return complain(p, ExitUsage, fmt.Errorf("--config: must be a JSON object: %w", err))
		}
	}
	mount := &host.Plugin{Command: flags.Args(), Protocol: protocol, Config: options, Name: "/", Logger: slog.New(slog.DiscardHandler)}
	if err := mount.Check(); err != nil {
		return complain(p, ExitUsage, err)
	}
	if what == "describe" {
		return describePlugin(ctx, mount, asJSON, p)
	}
	results := verify.Run(ctx, verify.Options{
		Command: flags.Args(), Protocol: protocol, Config: options, Path: path,
		Report: func(r verify.Result) { _, _ = io.WriteString(p.Stdout, resultText(r)) }, // the last line tells of an error
	})
	if !verify.Passed(results) {
		return complain(p, ExitFailure, errors.New("the plugin is not as it should be"))
	}
	return say(p, "All is well.\n")
}

// resultText is the line of a check, and below it what to mend.
func resultText(r verify.Result) string {
	text := r.Outcome.Sign() + " " + r.Check
	if r.Found != "" {
		text += ": " + indented(r.Found)
	}
	if r.Outcome == verify.Failed && r.Mend != "" {
		text += "\n    " + indented(r.Mend)
	}
	return text + "\n"
}

// indented is a text of several lines below the first.
func indented(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

// describePlugin prints what a plugin tells about itself.
func describePlugin(ctx context.Context, mount *host.Plugin, asJSON bool, p Process) int {
	d, err := mount.Describe(ctx)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	if asJSON {
		text, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return complain(p, ExitFailure, err)
		}
		return say(p, string(text)+"\n")
	}
	return say(p, descriptionText(d))
}

func descriptionText(d host.Description) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", d.Name, d.Version)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, o := range d.Options {
		about := o.Type
		switch {
		case o.Required:
			about += ", required"
		case o.Default != "":
			about += ", default " + o.Default
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", o.Name, about, o.Help)
	}
	_ = w.Flush() // a Builder takes everything
	return b.String()
}
