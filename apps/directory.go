package apps

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/refusal"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Directory serves files as File does, with the same options, and lists a
// directory that has no index file: as an HTML page, or as JSON where the client's
// Accept header prefers application/json.
//
// ?sort=name, size or time and ?order=asc or desc order the list; directories come first. A file
// that File would refuse to serve is not listed. The JSON is an array of {"name", "href", "is_dir",
// "size", "mtime"}, mtime in Unix seconds. The href also leads to names that are not UTF-8; name
// has U+FFFD for the bytes that JSON cannot hold.
type Directory struct {
	File `yaml:",inline"`
}

func init() { parts.App[Directory]("directory", "root") }

// Check reports what File reports, and a Root that is a file.
func (d *Directory) Check() error {
	if err := checkDir(d.dir()); err != nil {
		return errors.Join(pagi.BadOption("root", "%w", err), d.checkOptions())
	}
	return d.checkOptions()
}

// Serve answers an http scope with a file or a listing.
func (d *Directory) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	return d.serve(ctx, scope, send, d.list)
}

// entry is one line of a listing.
type entry struct {
	Name  string `json:"name"`
	Href  string `json:"href"` // relative to the listing
	IsDir bool   `json:"is_dir"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"`
}

func (d *Directory) list(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, name string) error {
	entries, err := d.read(dir, name)
	if err != nil {
		return d.refuseError(ctx, scope, send, dir, name, err)
	}
	order := orderOf(scope.QueryString)
	order.sort(entries)
	var body []byte
	headers := pagi.NewHeaders("vary", "accept")
	if jsonPreferred(scope.Headers) {
		headers.Add("content-type", "application/json")
		body, err = json.Marshal(entries)
	} else {
		headers.Add("content-type", "text/html; charset=utf-8")
		body, err = listingPage(scope, order, entries)
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	return reply.Send(ctx, scope, send, http.StatusOK, headers, body)
}

// read returns the entries of a directory that may be served. An entry that
// vanishes while the directory is read is left out.
func (d *Directory) read(dir *openRoot, name string) ([]entry, error) {
	opened, err := d.open(dir, name)
	if err != nil {
		return nil, err
	}
	defer opened.Close() // opened for reading
	found, err := opened.Handle().ReadDir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(found))
	for _, item := range found {
		below := path.Join(name, item.Name())
		if _, _, why := cleanPath("/"+below, d.ShowHidden); why.Status != 0 {
			continue
		}
		info, err := d.stat(dir, below)
		if err != nil && statusOf(err) == 0 {
			return nil, err // the list would lack what is there
		}
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			continue
		}
		entries = append(entries, entryOf(item.Name(), info))
	}
	return entries, nil
}

// stat describes the file that would be served under a name.
func (f *File) stat(dir *openRoot, name string) (fs.FileInfo, error) {
	info, err := dir.Stat(name) // follows links inside the root
	if err == nil || !leadsOut(err) {
		return info, err
	}
	target, err := refusal.Follow(f.FollowSymlinks, f.dir(), name)
	if err != nil {
		return nil, err
	}
	return os.Stat(target)
}

func entryOf(name string, info fs.FileInfo) entry {
	// "./" keeps a name with a colon in it from being a URL of its own.
	e := entry{Name: name, Href: "./" + url.PathEscape(name), IsDir: info.IsDir(), MTime: info.ModTime().Unix()}
	if e.IsDir {
		e.Href += "/"
	} else {
		e.Size = info.Size()
	}
	return e
}

// jsonPreferred reports whether the client names JSON with at least the weight of HTML.
func jsonPreferred(h pagi.Headers) bool {
	q := quality(h, "accept", "application/json")
	return q > 0 && q >= quality(h, "accept", "text/html")
}

// order is how a listing is sorted.
type order struct {
	By   string // "name", "size" or "time"
	Desc bool
}

func orderOf(query string) order {
	values, err := url.ParseQuery(query)
	o := order{By: "name"}
	if err != nil {
		return o
	}
	if by := values.Get("sort"); by == "size" || by == "time" {
		o.By = by
	}
	o.Desc = values.Get("order") == "desc"
	return o
}

func (o order) sort(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int {
		if a.IsDir != b.IsDir {
			if a.IsDir {
				return -1
			}
			return 1
		}
		c := 0
		switch o.By {
		case "size":
			c = cmp.Compare(a.Size, b.Size)
		case "time":
			c = cmp.Compare(a.MTime, b.MTime)
		}
		c = cmp.Or(c, strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.Name, b.Name))
		if o.Desc {
			return -c
		}
		return c
	})
}

//go:embed directory.html
var listingHTML string

var listing = template.Must(template.New("listing").Funcs(template.FuncMap{
	"size":  humanSize,
	"stamp": func(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04") },
	"iso":   func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) },
}).Parse(listingHTML))

// crumb is one step of the path at the top of the page.
type crumb struct{ Name, Href string }

// column is a sortable heading.
type column struct {
	Title, Class, Href string
	Sort               string // the value of aria-sort, "" when not sorted by it
}

func listingPage(scope *pagi.Scope, o order, entries []entry) ([]byte, error) {
	var page bytes.Buffer
	err := listing.Execute(&page, map[string]any{
		"Path":    scope.RootPath + scope.Path,
		"Crumbs":  crumbs(scope),
		"Columns": columns(o),
		"Parent":  strings.Trim(scope.Path, "/") != "",
		"Entries": entries,
	})
	return page.Bytes(), err
}

// crumbs leads from the root of the mount to the directory shown.
func crumbs(scope *pagi.Scope) []crumb {
	names := strings.FieldsFunc(scope.Path, func(r rune) bool { return r == '/' })
	all := []crumb{{Name: or(strings.Trim(scope.RootPath, "/"), "Home")}}
	for _, name := range names {
		all = append(all, crumb{Name: name})
	}
	for i := range all[:len(all)-1] {
		all[i].Href = strings.Repeat("../", len(all)-1-i)
	}
	return all
}

func columns(o order) []column {
	all := []column{{Title: "Name", Class: "name"}, {Title: "Size", Class: "size"}, {Title: "Modified (UTC)", Class: "time"}}
	for i := range all {
		c := &all[i]
		next := "asc"
		if c.Class == o.By {
			c.Sort = "ascending"
			if o.Desc {
				c.Sort = "descending"
			} else {
				next = "desc"
			}
		}
		c.Href = "?sort=" + c.Class + "&order=" + next
	}
	return all
}

// humanSize writes a number of bytes with a unit, powers of 1024.
func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	size, units := float64(n)/1024, "KMGTPE"
	i := 0
	for size >= 1023.95 && i < len(units)-1 { // a larger size would be written as 1024.0
		size /= 1024
		i++
	}
	return strconv.FormatFloat(size, 'f', 1, 64) + " " + units[i:i+1] + "iB"
}
