// Package apps holds ready-made applications, one file each. An application is a struct whose
// exported fields are its options: Go code sets the fields, and a site file spells them in snake
// case. A zero value works wherever that makes sense. Check (see pagi.Checker) names an option with
// a value that cannot work.
//
//	app := &apps.URLMap{Mounts: []apps.Mount{
//		{Path: "/static", App: &apps.File{Root: "public"}},
//		{Path: "/", App: hello},
//	}}
//
// Applications know the vocabulary of package pagi and nothing of servers, Perl or
// site files. They are used by pointer, and must not be changed once they serve.
package apps
