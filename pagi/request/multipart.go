package request

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Multipart is a multipart/form-data body that was read whole.
type Multipart struct {
	// Values are the fields, in order.
	Values Values
	// Files are the uploaded files, in order. A file input that the user left empty is not among
	// them.
	Files []*Upload
}

// File returns the first uploaded file of a field, or nil.
func (m *Multipart) File(field string) *Upload {
	for _, upload := range m.Files {
		if upload.Field == field {
			return upload
		}
	}
	return nil
}

// Multipart reads a multipart form whole, within Limits: fields into memory, files into memory or
// temporary files. It can be called again, by other Requests of the exchange, too, and returns the
// same form. The error is a *BodyError, ErrDisconnected, ErrStreamed, ErrBuffered, ErrBodyRead, one
// of Receive, or of writing a file; no file is left then.
func (r *Request) Multipart() (*Multipart, error) {
	b := r.body()
	b.mu.Lock()
	state, form, err := b.state, b.form, b.err
	b.mu.Unlock()
	switch {
	case form != nil:
		return form, nil
	case state == failed:
		return nil, err
	}
	var src io.Reader
	if state == whole { // by Bytes, of this Request or another one
		b.mu.Lock()
		src = &wholeReader{rest: b.data}
		b.mu.Unlock()
	}
	form, err = r.readMultipart(src)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case state == whole: // it stays available as it is
	case err == nil:
		b.state = parsed
	case b.state == streamed && !errors.Is(err, ErrStreamed):
		b.state, b.err = failed, err
	}
	if err == nil {
		b.form = form
	}
	return form, err
}

// wholeReader reads a body that is in memory.
type wholeReader struct{ rest []byte }

func (w *wholeReader) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// readMultipart reads all parts. src is nil for the live body.
func (r *Request) readMultipart(src io.Reader) (form *Multipart, err error) {
	limits := r.Limits
	limits.Files, limits.File = defaultTo(limits.Files, 20), defaultTo(limits.File, 10*mib)
	parts, err := r.parts(limits, src)
	if err != nil {
		return nil, err
	}
	form = &Multipart{}
	defer func() {
		if err == nil {
			return
		}
		for _, upload := range form.Files {
			err = errors.Join(err, upload.close())
		}
		form = nil
	}()
	for {
		part, err := parts.Next()
		switch {
		case err == io.EOF:
			return form, nil
		case err != nil:
			return form, err
		case part.Name == "":
			return form, malformed("a part of the form has no name", nil)
		case !part.IsFile():
			value, err := part.Value()
			if err != nil {
				return form, err
			}
			form.Values.Add(part.Name, value)
			continue
		}
		upload, err := r.spoolPart(part)
		if err != nil {
			return form, err
		}
		if upload.Size == 0 && upload.Filename == "" {
			err = upload.close()
		} else {
			form.Files = append(form.Files, upload)
		}
		if err != nil {
			return form, err
		}
	}
}

func defaultTo[T int | int64](n, otherwise T) T {
	if n == 0 {
		return otherwise
	}
	return n
}

func (r *Request) spoolPart(part *Part) (*Upload, error) {
	body := &spool.Body{Memory: r.Limits.Memory, Dir: r.Limits.Dir}
	if _, err := part.WriteTo(body); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	u := &Upload{Field: part.Name, Filename: part.Filename, Headers: part.Headers, Size: body.Size(), body: &uploadBody{spool: body}}
	runtime.AddCleanup(u, func(b *uploadBody) { _ = b.close() }, u.body) // nobody is left to tell
	return u, nil
}

// Upload is a file of a form.
type Upload struct {
	// Field is the name of the form's field.
	Field string
	// Filename is the name that the client gave the file, without directories and control
	// characters; "" if nothing is left of it. It is what the client says: an application chooses
	// its own names for files.
	Filename string
	// Headers are those of the part. Content-Type among them is what the client says, too.
	Headers pagi.Headers
	// Size is how many bytes the file has.
	Size int64

	body *uploadBody
}

// uploadBody holds the bytes of an Upload.
type uploadBody struct {
	mu     sync.Mutex
	spool  *spool.Body
	closed bool
}

func (b *uploadBody) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return b.spool.Close()
}

func (u *Upload) close() error { return u.body.close() }

// ContentType returns the media type that the client gave the file, "" if none.
func (u *Upload) ContentType() string {
	t, _ := parseContentType(u.Headers.Get("content-type"))
	return t
}

// Open returns the bytes of the file, from their beginning. The caller closes it. After Request.Close
// the error is os.ErrClosed.
func (u *Upload) Open() (io.ReadCloser, error) {
	u.body.mu.Lock()
	defer u.body.mu.Unlock()
	switch {
	case u.body.closed:
		return nil, os.ErrClosed
	case u.body.spool.InFile():
		return u.body.spool.Open()
	}
	return io.NopCloser(&wholeReader{rest: u.body.spool.Bytes()}), nil
}

// Bytes returns the whole file, if it has at most limit bytes; else a *BodyError of ErrTooLarge.
func (u *Upload) Bytes(limit int64) ([]byte, error) {
	if u.Size > limit {
		return nil, tooLarge("the file of "+u.Field, limit, "bytes")
	}
	from, err := u.Open()
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(from)
	return all, errors.Join(err, from.Close())
}

// Save writes the file to a new one that only its owner can read. It fails if that exists, and
// removes what it has written when that fails.
func (u *Upload) Save(path string) error {
	from, err := u.Open()
	if err != nil {
		return err
	}
	_, err = saveTo(path, readerTo{from})
	return errors.Join(err, from.Close())
}

// readerTo makes an io.WriterTo of a reader.
type readerTo struct{ io.Reader }

func (r readerTo) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, r.Reader) }
