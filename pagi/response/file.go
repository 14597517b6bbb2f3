package response

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// File returns a response of a file: with the media type of its extension, an ETag and
// Last-Modified, and in ranges or with 304 where the request asks for that. The file is opened when
// the response is sent. If it does not exist, is no regular file or must not be read, Send fails
// with a *pagi.StatusError of 404. path is one that the application has chosen; package apps serves
// directories by paths of clients.
func File(path string) *Response { return with("", fileContent(path)) }

// Attachment makes browsers save the body under a name instead of showing it (RFC 6266).
// Directories are cut off the name, and control characters are replaced. A name that is not plain
// ASCII is sent twice, in the forms for old and for new clients.
func (r *Response) Attachment(name string) *Response {
	return r.Header("content-disposition", disposition("attachment", name))
}

// Inline suggests a name for saving the body, which browsers show. See Attachment.
func (r *Response) Inline(name string) *Response {
	return r.Header("content-disposition", disposition("inline", name))
}

// disposition returns the value of a Content-Disposition header.
func disposition(kind, name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if name == "" || name == "." || name == ".." {
		return kind
	}
	// Quotes and percent signs are read in different ways by browsers: the plain form goes without
	// them.
	plain := strings.Map(func(r rune) rune {
		if r > 0x7e || strings.ContainsRune(`"%`, r) {
			return '_'
		}
		return r
	}, name)
	value := kind + `; filename="` + plain + `"`
	if plain != name {
		value += "; filename*=UTF-8''" + escapeExtended(name)
	}
	return value
}

// escapeExtended encodes the value of an extended parameter (RFC 8187 section 3.2.1).
func escapeExtended(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// fileContent is the path of a file.
type fileContent string

func (path fileContent) send(ctx context.Context, to *target, status int, headers pagi.Headers) (err error) {
	file, err := httpfile.Open(string(path), filepath.Base(string(path)))
	if err == nil && !file.Regular {
		err = errors.Join(errNotRegular, file.Close())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, errNotRegular):
		return &pagi.StatusError{Status: http.StatusNotFound, Message: http.StatusText(http.StatusNotFound), Err: fmt.Errorf("response: %s: %w", string(path), err)}
	case err != nil:
		return fmt.Errorf("response: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for _, name := range []string{"content-length", "content-range", "accept-ranges", "etag", "last-modified"} {
		headers.Del(name) // the file has its own
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return text(nil).send(ctx, to, status, headers)
	}
	contentType, typed := headers.Lookup("content-type")
	if headers.Del("content-type"); !typed {
		contentType = httpfile.WithCharset(httpfile.MediaType(string(path), nil, httpfile.DefaultType), "utf-8")
	}
	if to.scope.Type != pagi.TypeHTTP {
		headers.Add("content-type", contentType)
		return sendReader(ctx, to, status, headers, io.NewSectionReader(file, 0, file.Size))
	}
	answer := httpfile.Answer{File: file, Status: status, Headers: headers, Type: func() string { return contentType }}
	return answer.Send(ctx, to.scope, to.send)
}

var errNotRegular = errors.New("it is not a regular file")

// Reader returns a response whose body is read from body as it is sent, up to its end. contentType
// may be "". If body is an io.Closer, Send closes it, also when it fails.
func Reader(contentType string, body io.Reader) *Response {
	r := with("", reader{body})
	if contentType != "" {
		r.Header("content-type", contentType)
	}
	return r
}

type reader struct{ io.Reader }

// Close implements io.Closer.
func (b reader) Close() error {
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (b reader) send(ctx context.Context, to *target, status int, headers pagi.Headers) (err error) {
	defer func() { err = errors.Join(err, b.Close()) }()
	if to.scope.Type == pagi.TypeHTTP && to.hasBody(status) {
		if err := to.start(ctx, status, headers, false); err != nil {
			return err
		}
		return to.send(ctx, pagi.HTTPResponseBody{FH: b.Reader, Length: pagi.ToEnd})
	}
	return sendReader(ctx, to, status, headers, b.Reader)
}

// sendReader sends a body by pieces.
func sendReader(ctx context.Context, to *target, status int, headers pagi.Headers, body io.Reader) error {
	return stream(func(w *Writer) error {
		_, err := io.Copy(w, body)
		return err
	}).send(ctx, to, status, headers)
}
