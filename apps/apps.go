// Package apps holds ready-made applications, one file each. An application is a
// struct whose exported fields are its options: what Go code sets and what a site
// file spells in snake case is the same thing. A zero value works wherever that
// makes sense, and Check (see pagi.Checker) names an option that cannot.
//
//	app := &apps.URLMap{Mounts: []apps.Mount{
//		{Path: "/static", App: &apps.File{Root: "public"}},
//		{Path: "/", App: hello},
//	}}
//
// Applications know the vocabulary of package pagi and nothing of servers, Perl or
// site files. They are used by pointer, and must not be changed once they serve.
package apps
