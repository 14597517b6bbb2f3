package site

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/server"
)

// resolve turns a file name relative to the site file into one relative to the current directory.
func (d *decoder) resolve(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(d.file), name)
}

// resolveField resolves an option that the tag path marks as a file name: "yes", or "slash" for a
// text that is a file name only if it contains a slash. The tag may list further values after
// commas, which are not file names.
func (d *decoder) resolveField(field option.Field) {
	kind, exceptions, _ := strings.Cut(field.Tag.Get("path"), ",")
	text := field.Value
	switch {
	case field.Tag.Get("form") == "place":
		text.SetString(d.resolvePlace(text.String()))
	case kind == "", text.String() == "", slices.Contains(strings.Split(exceptions, ","), text.String()):
	case kind == "slash" && !strings.Contains(text.String(), "/"):
	default:
		text.SetString(d.resolve(text.String()))
	}
}

// resolveMap resolves the values of a mapping of texts that the tag path marks as file names.
func (d *decoder) resolveMap(field option.Field) {
	if files, is := field.Value.Interface().(map[string]string); is && field.Tag.Get("path") == "yes" {
		for key, name := range files {
			files[key] = d.resolve(name)
		}
	}
}

// resolvePlace resolves the path of a Unix socket. Check reports an address that cannot be parsed.
func (d *decoder) resolvePlace(spec string) string {
	p, err := server.ParsePlace(spec)
	path, isFile := p.Path()
	if err != nil || !isFile {
		return spec
	}
	p.Address = "unix:" + d.resolve(path)
	return p.String()
}
