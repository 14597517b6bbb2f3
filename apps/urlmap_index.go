package apps

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// hostIndex finds the mount of a request in a time that does not depend on how many mounts of a host, and how many
// hosts without a wildcard, there are.
type hostIndex struct {
	exact map[string]*pathIndex
	wild  []wildHost // the longest first
	all   *pathIndex // for all hosts
}

// wildHost has the mounts of all hosts with an ending: ".example.com" for *.example.com.
type wildHost struct {
	ending string
	paths  *pathIndex
}

// newHostIndex returns the index of mounts. Of two at one place it has the first.
func newHostIndex(mounts []Mount) hostIndex {
	x := hostIndex{exact: map[string]*pathIndex{}, all: newPathIndex()}
	for _, m := range mounts {
		m.Path = trimSlash(m.Path)
		x.pathsOf(normalHost(m.Host)).add(&m)
	}
	slices.SortStableFunc(x.wild, func(a, b wildHost) int { return cmp.Compare(len(b.ending), len(a.ending)) })
	return x
}

// pathsOf returns the mounts of a host, and makes room for them where there are none.
func (x *hostIndex) pathsOf(host string) *pathIndex {
	if host == "" {
		return x.all
	}
	ending, wild := strings.CutPrefix(host, "*")
	if !wild {
		if x.exact[host] == nil {
			x.exact[host] = newPathIndex()
		}
		return x.exact[host]
	}
	for _, w := range x.wild {
		if w.ending == ending {
			return w.paths
		}
	}
	w := wildHost{ending, newPathIndex()}
	x.wild = append(x.wild, w)
	return w.paths
}

// find returns the mount of a request, or nil.
func (x *hostIndex) find(scope *pagi.Scope) *Mount {
	if len(x.exact) > 0 || len(x.wild) > 0 {
		host := normalHost(scope.Headers.Get("host"))
		if paths := x.exact[host]; paths != nil {
			if m := paths.find(scope.Path); m != nil {
				return m
			}
		}
		for _, w := range x.wild {
			if len(host) > len(w.ending) && strings.HasSuffix(host, w.ending) {
				if m := w.paths.find(scope.Path); m != nil {
					return m
				}
			}
		}
	}
	return x.all.find(scope.Path)
}

// pathIndex has the mounts of one host by their paths, which have no slash at the end.
type pathIndex struct {
	mounts  map[string]*Mount
	longest int // the length of the longest path
}

func newPathIndex() *pathIndex { return &pathIndex{mounts: map[string]*Mount{}} }

func (x *pathIndex) add(m *Mount) {
	if x.mounts[m.Path] == nil {
		x.mounts[m.Path] = m
		x.longest = max(x.longest, len(m.Path))
	}
}

// find returns the mount with the longest path that is path, or is followed by a slash there. It looks at no more of path
// than the longest path of a mount has, however long a path a client sends.
func (x *pathIndex) find(path string) *Mount {
	end := len(path)
	if end > x.longest {
		end = strings.LastIndexByte(path[:x.longest+1], '/')
	}
	for ; end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		if m := x.mounts[path[:end]]; m != nil {
			return m
		}
	}
	return nil
}
