package apps

import (
	"context"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// serveFile answers with an open file, which its caller closes.
func (f *File) serveFile(ctx context.Context, scope *pagi.Scope, send pagi.Send, dir *openRoot, file *httpfile.File) error {
	if scope.Type == pagi.TypeSSE {
		scope, _, send = ordinary(scope, nil, send)
	}
	headers := make(pagi.Headers, 0, 8)
	original := file
	mediaType, packing, varies := f.typeOf(file, scope.Headers)
	if varies {
		headers.Add("vary", "accept-encoding")
	}
	if packing != "" {
		headers.Add("content-encoding", packing)
	}
	if f.Precompressed && !varies && dir != nil {
		headers.Add("vary", "accept-encoding")
		if packed, encoding := openPacked(scope.Headers, dir, file); packed != nil {
			defer packed.Close()
			file = packed
			headers.Add("content-encoding", encoding)
		}
	}
	if value := f.cacheControl(original.Name); value != "" {
		headers.Add("cache-control", value)
	}
	answer := httpfile.Answer{File: file, Headers: headers, DisableRanges: f.DisableRanges,
		Type: func() string { return f.contentTypeOf(original, mediaType, packing) }}
	return answer.Send(ctx, scope, send)
}

// cacheControl returns the Cache-Control for a file whose name is relative to the root; "" for none.
func (f *File) cacheControl(name string) string {
	value, longest := f.CacheControl, 0
	for rule, v := range f.CacheRules {
		ending, isEnding := strings.CutPrefix(rule, "*")
		matches := isEnding && strings.HasSuffix(name, ending) || !isEnding && pathMatches(strings.TrimSuffix(rule, "/"), "/"+name)
		if matches && len(rule) > longest {
			value, longest = v, len(rule)
		}
	}
	if value == "off" {
		return ""
	}
	return value
}

// openPacked opens the compressed form of a file that the client prefers, or returns nil. It
// prefers Brotli where the client gives both the same weight.
func openPacked(h pagi.Headers, dir *openRoot, original *httpfile.File) (*httpfile.File, string) {
	type form struct {
		encoding, suffix string
		q                float64
	}
	forms := []form{{"br", ".br", quality(h, "accept-encoding", "br", "*")}, {"gzip", ".gz", quality(h, "accept-encoding", "gzip", "x-gzip", "*")}}
	if forms[1].q > forms[0].q {
		forms[0], forms[1] = forms[1], forms[0]
	}
	plain := quality(h, "accept-encoding", "identity") // -1 where it is not named: then any other is preferred
	for _, form := range forms {
		if form.q <= 0 || form.q < plain {
			continue
		}
		file, err := dir.open(original.Name + form.suffix)
		if err != nil {
			continue // the original is as good
		}
		if file.Regular && !file.Modified.Before(original.Modified) {
			return file, form.encoding
		}
		file.Close() // opened for reading: nothing to lose
	}
	return nil, ""
}
