package importer

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// How far below the directories of a configuration .htaccess files are looked for.
const (
	htaccessDepth = 6
	htaccessDirs  = 5000
)

// htaccessFiles adds the .htaccess files below the directories of the aliases, as sections for their directories, where
// AllowOverride lets Apache read them.
func (h *apacheHost) htaccessFiles() {
	if !slices.ContainsFunc(h.list, allowsOverride) {
		return
	}
	main := h.list[len(h.own):]
	own := slices.Clone(h.own)
	for _, dir := range h.roots() {
		for _, file := range h.htaccessBelow(dir) {
			if section := h.htaccessSection(file); section != nil {
				own = append(own, section)
			}
		}
	}
	h.own, h.list = own, append(slices.Clone(own), main...)
}

// allowsOverride reports whether a directive, or one in a section, lets Apache read .htaccess files.
func allowsOverride(d *directive) bool {
	return d.name == "allowoverride" && !d.is(0, "none") || slices.ContainsFunc(d.children, allowsOverride)
}

// roots returns the directories of the aliases that are not below another one.
func (h *apacheHost) roots() (dirs []string) {
	for _, a := range h.aliases {
		if info, err := os.Stat(a.target); err == nil && info.IsDir() && a.target != "" {
			dirs = append(dirs, filepath.Clean(a.target))
		}
	}
	sort.Strings(dirs)
	return slices.CompactFunc(dirs, func(a, b string) bool { return isBelow(b, a) })
}

// htaccessBelow returns the .htaccess files in a directory and below it.
func (h *apacheHost) htaccessBelow(root string) (files []string) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // what cannot be read is noted when it is served
		case entry.IsDir():
			if seen++; seen > htaccessDirs {
				h.conf.leave(h.out.at, "there are many directories below "+root+": look for further .htaccess files, and import them one by one")
				return fs.SkipAll
			}
			if strings.Count(strings.TrimPrefix(path, root), "/") > htaccessDepth {
				return fs.SkipDir
			}
		case entry.Name() == ".htaccess":
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		h.conf.leave(h.out.at, err.Error())
	}
	return files
}

// htaccessSection returns the section that a .htaccess file stands for, nil if Apache does not read it or it cannot be read.
func (h *apacheHost) htaccessSection(file string) *directive {
	dir := filepath.Dir(file)
	classes := h.overrides(dir)
	if slices.Equal(classes, []string{"none"}) {
		return nil
	}
	at := place{file, 1, ".htaccess"}
	p := &apacheParser{conf: h.conf, defines: map[string]string{}}
	list, err := p.file(file)
	if err != nil {
		h.conf.leave(at, err.Error()+": it is not carried over")
		return nil
	}
	list = slices.DeleteFunc(list, func(d *directive) bool {
		forbidden := !slices.Contains(classes, "all") && !slices.Contains(classes, overrideClass(d.name))
		if forbidden {
			h.conf.leave(d.at, "AllowOverride does not allow it there; Apache answers 500")
		}
		return forbidden
	})
	if len(list) == 0 {
		return nil
	}
	return &directive{name: "directory", args: []string{dir}, at: at, children: list, section: true}
}

// overrides returns what AllowOverride says for a directory, in lower case.
func (h *apacheHost) overrides(dir string) []string {
	classes, deepest := []string{"none"}, -1
	main := h.list[len(h.own):]
	for _, d := range append(slices.Clone(main), h.own...) {
		if d.name != "directory" || !d.section || !matchesDir(dir, d.arg(0)) {
			continue
		}
		depth := strings.Count(strings.TrimSuffix(d.arg(0), "/"), "/")
		for _, child := range d.children {
			if child.name == "allowoverride" && depth >= deepest {
				deepest, classes = depth, nil
				for _, a := range child.args {
					class, _, _ := strings.Cut(strings.ToLower(a), "=")
					classes = append(classes, class)
				}
			}
		}
	}
	return classes
}

// overrideClass returns the word of AllowOverride that lets a directive stand in a .htaccess file.
func overrideClass(name string) string {
	switch name {
	case "authtype", "authname", "authuserfile", "authgroupfile", "authbasicprovider", "require", "requireall", "requireany", "requirenone", "satisfy", "cgipassauth":
		return "authconfig"
	case "order", "allow", "deny":
		return "limit"
	case "options", "xbithack":
		return "options"
	case "directoryindex", "directoryslash", "fallbackresource", "indexoptions", "indexignore", "headername", "readmename", "adddescription", "addicon",
		"expiresactive", "expiresdefault", "expiresbytype":
		return "indexes"
	case "files", "filesmatch", "limitexcept", "if":
		return "authconfig"
	}
	return "fileinfo"
}
