package confine

import (
	"slices"
	"strings"
)

// DefaultEnv are the variables of the gateway that an adapter gets whose Isolation asks for anything. A name that ends in *
// stands for all that begin so.
var DefaultEnv = []string{"PATH", "TZ", "TMPDIR", "LANG", "LANGUAGE", "LC_*", "PERL5LIB", "PERL5OPT", "PERL_*", "PLACK_ENV", "PAGI_ENV"}

// environment returns the variables of all whose names pass, with own behind them. A later variable replaces an earlier one
// of the same name.
func environment(all, pass, own []string) []string {
	var kept []string
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		if slices.ContainsFunc(pass, func(pattern string) bool { return passes(pattern, name) }) {
			kept = append(kept, variable)
		}
	}
	kept = append(kept, own...)
	last := map[string]int{}
	for n, variable := range kept {
		name, _, _ := strings.Cut(variable, "=")
		last[name] = n
	}
	var env []string
	for n, variable := range kept {
		if name, _, _ := strings.Cut(variable, "="); last[name] == n {
			env = append(env, variable)
		}
	}
	return env
}

func passes(pattern, name string) bool {
	if prefix, isPrefix := strings.CutSuffix(pattern, "*"); isPrefix {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// lookup returns the last value of a variable.
func lookup(env []string, name string) (value string, ok bool) {
	for _, variable := range env {
		if text, is := strings.CutPrefix(variable, name+"="); is {
			value, ok = text, true
		}
	}
	return value, ok
}
