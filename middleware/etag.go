package middleware

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// ETag gives the answers to GET an entity tag: half of the SHA-256 of the body, 128 bits. With a
// faster hash, a client that chooses the content of pages could make two of them with one tag. With
// ConditionalGet around ETag, a client that has the body already gets 304 instead.
//
// It acts in http scopes, on responses of 200 that have no ETag. A body in one piece gets a tag,
// and so does one in pieces up to Buffer. Other streams, files and bodies larger than MaxSize leave
// without a tag, and so does a response with "Cache-Control: no-store". An answer to HEAD gets a
// tag only if the application sends the body, too, or if Head is around ETag.
type ETag struct {
	// Weak makes the tags weak, for bodies that mean the same but may differ in bytes.
	Weak bool `yaml:"weak"`
	// MaxSize is the largest body that gets a tag; 0 means 1 MiB, a number below 0 no limit.
	MaxSize int `yaml:"max_size" unit:"bytes" default:"1MiB" zero:"off"`
	// Buffer is how many bytes of a body in pieces are held back for its tag; 0 holds nothing back:
	// only a body in one piece gets a tag.
	Buffer int `yaml:"buffer" unit:"bytes"`
}

func init() { parts.Middleware[ETag]("etag") }

// Check reports a negative Buffer.
func (m ETag) Check() error {
	if m.Buffer < 0 {
		return pagi.BadOption("buffer", "must not be negative, is %d", m.Buffer)
	}
	return nil
}

// Wrap puts m around next.
func (m ETag) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	on := onward(next)
	tagged := &wholeBodies{limit: m.Buffer, wants: lacksTag, finish: func(start *pagi.HTTPResponseStart, method string, body []byte) {
		if (m.MaxSize < 0 || len(body) <= m.MaxSize) && (len(body) > 0 || method == "GET") {
			start.Headers.Add("etag", tagOf(body, m.Weak))
		}
	}}
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if p.scope.Type != pagi.TypeHTTP || p.scope.Method != "GET" && p.scope.Method != "HEAD" {
			return on(ctx, p)
		}
		return tagged.serve(ctx, p, next)
	})
}

func lacksTag(e pagi.HTTPResponseStart) bool {
	return e.Status == 200 && !e.Headers.Has("etag") && !e.Headers.HasToken("cache-control", "no-store")
}

func tagOf(body []byte, weak bool) string {
	sum := sha256.Sum256(body)
	tag := make([]byte, 0, 26)
	if weak {
		tag = append(tag, "W/"...)
	}
	tag = append(tag, '"')
	tag = base64.RawURLEncoding.AppendEncode(tag, sum[:16])
	return string(append(tag, '"'))
}
