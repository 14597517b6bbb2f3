package middleware

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/coding"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// GZip compresses response bodies with gzip, brotli or Zstandard, as the client accepts it
// (RFC 9110 section 12.5.3). It acts in http scopes.
//
// A piece of a body that is sent in pieces is compressed and leaves at once, by a flush of the
// encoder. Pieces of 4 KB make the compressed body a few percent larger than a whole one. Pieces of
// 100 bytes make it about twice as large, and take about ten times as long. A file of up to MaxFile
// bytes is read and compressed as a whole. Larger ones leave as they are, by sendfile.
//
// These responses leave as they are: types that Types does not have; bodies that are smaller than
// MinSize, if that is known before the first piece leaves; those with a Content-Encoding,
// "Cache-Control: no-transform" or a Content-Range; 204, 206 and 304.
//
// A compressed response has no Content-Length, Accept-Ranges and digests, and a strong ETag becomes
// weak. ConditionalGet and other caches compare tags weakly, so they still find their copy. An
// If-Match with a weak tag always fails: an application whose clients use it should exempt those
// responses by no-transform. Vary has Accept-Encoding in every response that depends on it.
//
// If the client accepts none of the codings, nor the plain body, it gets the plain body.
type GZip struct {
	// Encodings are the codings, the preferred one first; nil means zstd, br, gzip. The order
	// decides between those that the client likes equally. zstd takes the least time, above all for
	// pages of a few KiB. br makes bodies about a tenth smaller in one and a half to three times
	// the time.
	Encodings []string `yaml:"encodings"`
	// GzipLevel is the level of gzip, 1 (fast) to 9 (small); 0 means 5.
	GzipLevel int `yaml:"gzip_level" default:"5"`
	// BrotliLevel is the level of br, 1 to 11; 0 means 3. Levels above 4 are slow.
	BrotliLevel int `yaml:"brotli_level" default:"3"`
	// ZstdLevel is the level of zstd, 1 to 22; 0 means 3. The encoder has four levels, which begin
	// at 1, 3, 6 and 10.
	ZstdLevel int `yaml:"zstd_level" default:"3"`
	// MinSize is the smallest body that is compressed, if its size is known; 0 means 1 KiB, a
	// number below 0 no limit.
	MinSize int64 `yaml:"min_size" unit:"bytes" default:"1KiB" zero:"off"`
	// MaxFile is the largest file that is compressed; 0 means 10 MiB, a number below 0 no limit.
	MaxFile int64 `yaml:"max_file" unit:"bytes" default:"10MiB" zero:"off"`
	// Types are the media types that are compressed, such as "text/html", "text/*" or "*+json"; nil
	// means those of text, scripts, JSON, XML, fonts without compression and WebAssembly.
	Types []string `yaml:"types"`
	// SSE compresses event streams, too, if they are sent in an http scope. An encoder takes 1 to 2
	// MiB of memory as long as the stream lasts. Streams of an sse scope are never compressed.
	SSE bool `yaml:"sse"`
	// Padding makes each compressed body longer by a random number of bytes, at most by Padding and
	// by 256. It slows attacks down that find a secret by the length of bodies with it (BREACH),
	// but does not prevent them. 0: none.
	Padding int `yaml:"padding" unit:"bytes"`
}

func init() { parts.Middleware[GZip]("gzip") }

// compressible are the default of GZip.Types.
var compressible = mediaTypes{
	"text/*", "*+json", "*+xml", "*+yaml", "application/json", "application/javascript", "application/x-javascript", "application/ecmascript",
	"application/xml", "application/x-ndjson", "application/yaml", "application/toml", "application/wasm", "application/rtf",
	"application/graphql", "application/sql", "application/vnd.ms-fontobject", "application/x-www-form-urlencoded",
	"font/ttf", "font/otf", "font/collection", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon", "image/svg+xml",
}

const eventStream = "text/event-stream"

// Check reports a coding or a level that there is not, a type that is none, and a padding that is
// too large.
func (m GZip) Check() error {
	option.SetDefaults(&m)
	var errs []error
	for i, name := range m.Encodings {
		switch {
		case coding.MaxLevel(name) == 0:
			errs = append(errs, pagi.BadOption("encodings", "%q is not br, zstd or gzip", name))
		case slices.Contains(m.Encodings[:i], name):
			errs = append(errs, pagi.BadOption("encodings", "%s is there twice", name))
		}
	}
	for _, level := range []struct {
		option, coding string
		value          int
	}{{"gzip_level", coding.Gzip, m.GzipLevel}, {"brotli_level", coding.Brotli, m.BrotliLevel}, {"zstd_level", coding.Zstd, m.ZstdLevel}} {
		if highest := coding.MaxLevel(level.coding); level.value < 1 || level.value > highest {
			errs = append(errs, pagi.BadOption(level.option, "must be 1 to %d, is %d", highest, level.value))
		}
	}
	if m.Padding < 0 || m.Padding > coding.MaxPadding {
		errs = append(errs, pagi.BadOption("padding", "must be 0 to %d, is %d", coding.MaxPadding, m.Padding))
	}
	return errors.Join(append(errs, checkMediaTypes("types", m.Types))...)
}

// Wrap puts m around next.
func (m GZip) Wrap(next pagi.App) pagi.App {
	bad := m.Check() != nil
	option.SetDefaults(&m)
	rules := &compression{minSize: m.MinSize, maxFile: m.MaxFile, types: m.Types, sse: m.SSE, padding: m.Padding}
	if m.Types == nil {
		rules.types = compressible
	}
	levels := map[string]int{coding.Gzip: m.GzipLevel, coding.Brotli: m.BrotliLevel, coding.Zstd: m.ZstdLevel}
	names := m.Encodings
	if names == nil {
		names = []string{coding.Zstd, coding.Brotli, coding.Gzip}
	}
	for _, name := range names {
		if !bad {
			rules.codings = append(rules.codings, codingPool{name, coding.NewPool(name, levels[name])})
		}
	}
	on, plain := onward(next), edit{change: rules.plain}
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if p.scope.Type != pagi.TypeHTTP {
			return on(ctx, p)
		}
		found := rules.choose(p.scope.Headers)
		if found == nil {
			p.edit(plain, 1)
			return on(ctx, p)
		}
		c := &compressor{rules: rules, scope: p.keep(), send: p.outgoing, coding: found}
		defer c.release()
		if err := next.Serve(ctx, p.scope, p.receive, c.event); err != nil {
			return err
		}
		return c.unfinished(ctx)
	})
}

// compression is what GZip compresses, and how.
type compression struct {
	codings          []codingPool
	minSize, maxFile int64
	types            mediaTypes
	sse              bool
	padding          int
	last             atomic.Pointer[choice] // most clients send one of few headers
}

// choice is the coding for a value of Accept-Encoding.
type choice struct {
	header string
	coding *codingPool
}

// maxChoice is the longest header whose choice is kept.
const maxChoice = 64

type codingPool struct {
	name string
	*coding.Pool
}

// choose returns the coding that the client likes best, nil if that is the plain body.
func (r *compression) choose(h pagi.Headers) *codingPool {
	if !h.Has("accept-encoding") {
		return nil
	}
	header := h.Joined("accept-encoding")
	if last := r.last.Load(); last != nil && last.header == header {
		return last.coding
	}
	found := r.chooseBy(request.ParseAccept(header))
	if len(header) <= maxChoice {
		r.last.Store(&choice{strings.Clone(header), found})
	}
	return found
}

// chooseBy returns the coding with the highest weight. Among codings that the client likes equally
// the first one of ours counts. The plain body is the best if the client names it with a higher
// weight.
func (r *compression) chooseBy(ranges []request.AcceptRange) *codingPool {
	var best *codingPool
	bestQ := 0.0
	for i := range r.codings {
		if q := weightOf(ranges, r.codings[i].name); q > bestQ {
			best, bestQ = &r.codings[i], q
		}
	}
	for i := range ranges {
		if ranges[i].Value == "identity" && ranges[i].Q > bestQ {
			return nil
		}
	}
	return best
}

// weightOf returns the weight of a coding: its own, or else that of "*".
func weightOf(ranges []request.AcceptRange, name string) (q float64) {
	for i := range ranges {
		switch value := ranges[i].Value; {
		case value == name || value == "x-gzip" && name == coding.Gzip: // RFC 9110 section 8.4.1.3
			return ranges[i].Q
		case value == "*":
			q = ranges[i].Q
		}
	}
	return q
}
