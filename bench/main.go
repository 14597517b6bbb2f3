// Command bench starts pagi-bridge and its peers side by side on this machine and
// measures them in turn, so that what is compared was measured within the same
// minutes. It prints Markdown; docs/benchmarks.md keeps the last honest table.
//
//	go run ./bench hello     throughput and latency of a small PSGI answer
//	go run ./bench memory    the gateway's memory while large bodies pass through
//	go run ./bench slow      a fast client beside hundreds of slow ones
//	go run ./bench preload   the memory that is saved when workers are forked
//	go run ./bench profile   record the profile the compiler optimises by
//
// It needs wrk, and of the peers those that are to be compared: nginx, uwsgi with
// its psgi plugin, starman. Everything listens on 127.0.0.1.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
)

// options are the command line's.
type options struct {
	rounds   int
	seconds  int
	conns    int
	workers  int
	binary   string
	contests []string
}

// bench is what a benchmark has at hand.
type bench struct {
	options
	dir    string // for sockets, configurations and applications
	binary string // pagi-bridge
}

var benchmarks = map[string]func(*bench) error{
	"hello":   (*bench).hello,
	"memory":  (*bench).memory,
	"slow":    (*bench).slow,
	"preload": (*bench).preload,
	"profile": (*bench).profile,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	var o options
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.IntVarP(&o.rounds, "rounds", "n", 5, "how often each contestant runs; medians are printed")
	flags.IntVarP(&o.seconds, "seconds", "s", 4, "how long each run takes")
	flags.IntVarP(&o.conns, "connections", "c", 64, "how many connections")
	flags.IntVarP(&o.workers, "workers", "w", 2, "how many Perl workers each contestant has")
	flags.StringVar(&o.binary, "binary", "", "the pagi-bridge to measure; built from this tree by default")
	flags.StringSliceVar(&o.contests, "only", nil, "contestants, by name; all by default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || benchmarks[flags.Arg(0)] == nil {
		return fmt.Errorf("usage: go run ./bench [flags] hello|memory|slow|preload|profile\n%s", flags.FlagUsages())
	}
	dir, err := os.MkdirTemp("", "pagi-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.RemoveAll(dir); err == nil {
			err = e
		}
	}()
	b := &bench{options: o, dir: dir, binary: o.binary}
	if b.binary == "" {
		b.binary = filepath.Join(dir, "pagi-bridge")
		build := exec.Command("go", "build", "-o", b.binary, "./cmd/pagi-bridge")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build pagi-bridge: %w", err)
		}
	}
	fmt.Printf("%d CPUs, %s, %s\n\n", runtime.NumCPU(), runtime.Version(), kernel())
	return benchmarks[flags.Arg(0)](b)
}

func kernel() string {
	out, err := exec.Command("uname", "-sr").Output()
	if err != nil {
		return runtime.GOOS
	}
	return strings.TrimSpace(string(bytes.TrimSpace(out)))
}

// write puts a file into the benchmark's directory.
func (b *bench) write(name, content string) (string, error) {
	path := filepath.Join(b.dir, name)
	return path, os.WriteFile(path, []byte(content), 0o700)
}
