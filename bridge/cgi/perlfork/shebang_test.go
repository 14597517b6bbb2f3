//go:build unix

package perlfork

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestWhichPerlRunsAScript(t *testing.T) {
	for line, want := range map[string]interpreter{
		"#!/usr/bin/perl":                {path: "/usr/bin/perl"},
		"#! /usr/bin/perl5.36 ":          {path: "/usr/bin/perl5.36"},
		"#!/usr/bin/perl -w":             {path: "/usr/bin/perl", args: []string{"-w"}},
		"#!/usr/bin/perl --":             {path: "/usr/bin/perl", args: []string{"--"}},
		"#!/usr/bin/perl -wT":            {path: "/usr/bin/perl", args: []string{"-wT"}, taints: true},
		"#!/usr/bin/perl -w -T":          {path: "/usr/bin/perl", args: []string{"-w -T"}, taints: true},
		"#!/usr/bin/perl -I/srv/Text -w": {path: "/usr/bin/perl", args: []string{"-I/srv/Text -w"}},
		"#!/usr/bin/perl -I /srv/-T":     {path: "/usr/bin/perl", args: []string{"-I /srv/-T"}},
		"#!/usr/bin/env perl":            {path: "perl"},
		"#!/usr/bin/env -S perl -w -T":   {path: "perl", args: []string{"-w", "-T"}, taints: true},
		"#!/usr/bin/perl -d":             {},
		"#!/usr/bin/perl -n":             {},
		"#!/usr/bin/perl -w -- x":        {},
		"#!/usr/bin/perl -MCGI":          {},
		"#!/usr/bin/perl -CS":            {},
		"#!/usr/bin/env perl -w":         {},
		"#!/usr/bin/python3":             {},
		"#!perl":                         {},
	} {
		got, err := parse(strings.TrimPrefix(line, "#!"))
		if (err != nil) != (want.path == "") || err == nil && (got.path != want.path || strings.Join(got.args, "|") != strings.Join(want.args, "|") || got.taints != want.taints) {
			t.Errorf("%s: %+v, %v", line, got, err)
		}
	}
}

func TestAProgramIsNoScriptOfPerl(t *testing.T) {
	for name, content := range map[string]string{"with a line end": "\x7fELF" + strings.Repeat("x", 100) + "\n", "without": "\x7fELF" + strings.Repeat("x", 500)} {
		dir := testkit.Tree(t, map[string]string{"program": content})
		_, err := perlOf(filepath.Join(dir, "program"), "")
		if !errors.Is(err, errNotPerl) || !strings.Contains(err.Error(), "it is a program") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
