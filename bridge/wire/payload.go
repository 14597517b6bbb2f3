package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// AppendPairs appends a list of pairs: their number, then each string behind its length. It panics
// on an odd list, which only a mistake in the calling code can pass.
func AppendPairs(b []byte, list ...string) []byte {
	if len(list)%2 != 0 {
		panic("wire.AppendPairs: odd number of strings")
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)/2))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// appendList appends a list: the number of strings, then each behind its length.
func appendList(b []byte, list ...string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// appendHeaders appends headers as pairs.
func appendHeaders(b []byte, headers pagi.Headers) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	for _, h := range headers {
		b = appendString(appendString(b, h.Name), h.Value)
	}
	return b
}

// decoder takes a payload apart. At the first value that does not fit it sets bad. From then on it
// yields zero values.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.p) {
		d.bad = true
		return nil
	}
	out := d.p[:n]
	d.p = d.p[n:]
	return out
}

func (d *decoder) uint8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// count reads the number of items that follow, each of at least size bytes. It refuses a number for
// which the payload is too short, so that no claim of a worker makes room for more than it has
// sent.
func (d *decoder) count(size int) int {
	n := d.uint32()
	if uint64(n)*uint64(size) > uint64(len(d.p)) {
		d.bad = true
		return 0
	}
	return int(n)
}

// list reads a list of strings.
func (d *decoder) list() []string {
	n := d.count(4)
	if d.bad || n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = string(d.take(int(d.uint32())))
	}
	return list
}

// DecodePairs decodes a list of pairs that is all of p, a worker's configuration for example. Names are put in lower
// case, in p itself.
func DecodePairs(p []byte) (pagi.Headers, error) {
	d := decoder{p: p}
	pairs := d.headers()
	if d.bad || len(d.p) > 0 {
		return nil, fmt.Errorf("%w: pairs that do not add up", ErrMalformed)
	}
	return pairs, nil
}

// number reads a decimal of 0 to most; "" is 0.
func (d *decoder) number(text string, most int) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) err(t Type) error {
	if d.bad {
		return fmt.Errorf("%w: %s", ErrMalformed, t)
	}
	return nil
}

// headers reads a list of pairs into Headers, lower-casing the names in place. The
// strings share one copy of the block, so that the payload can be used again.
func (d *decoder) headers() pagi.Headers {
	n := d.count(8)
	if d.bad || n == 0 {
		return nil
	}
	// The first pass checks, measures and lower-cases; the second one slices.
	probe := *d
	for range n {
		lower(probe.take(int(probe.uint32())))
		probe.take(int(probe.uint32()))
	}
	if probe.bad {
		d.bad = true
		return nil
	}
	block := string(d.p[:len(d.p)-len(probe.p)])
	headers := make(pagi.Headers, n)
	at := 0
	next := func() string {
		size := int(binary.BigEndian.Uint32(d.p[at:]))
		at += 4 + size
		return block[at-size : at]
	}
	for i := range headers {
		headers[i].Name = next()
		headers[i].Value = next()
	}
	d.p = probe.p
	return headers
}

func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
}

// Head is a response's status and headers, names in lower case.
type Head struct {
	Status  int
	Headers pagi.Headers
}

// DecodeHead decodes a RESPONSE or INFORMATIONAL frame; rest is the piece of body
// that follows the head and shares p's memory. A head of more than MaxHead is an
// ErrTooLarge.
func DecodeHead(t Type, p []byte) (head Head, rest []byte, err error) {
	d := decoder{p: p}
	head.Status = int(d.uint16())
	head.Headers = d.headers()
	if size := len(p) - len(d.p); size > MaxHead {
		return Head{}, nil, fmt.Errorf("%w: a head of %d bytes in %s, at most %d are allowed", ErrTooLarge, size, t, MaxHead)
	}
	return head, d.p, d.err(t)
}

// FileRef is the content of a FILE frame: a part of a file, which is the body. Device and Inode
// identify the file that the worker had open. So the gateway sends that file, and not another one
// that has taken its name.
type FileRef struct {
	Offset, Length int64
	Device, Inode  uint64
	Path           string
}

// DecodeFile decodes a FILE frame. It names an absolute path, or has the flag DESCRIPTOR and no path.
func DecodeFile(frame Frame) (FileRef, error) {
	d := decoder{p: frame.Payload}
	f := FileRef{Offset: int64(d.uint64()), Length: int64(d.uint64()), Device: d.uint64(), Inode: d.uint64()}
	f.Path = string(d.p)
	named := f.Path != "" && f.Path[0] == '/'
	if f.Offset < 0 || f.Length < 0 || named == frame.Has(FlagDescriptor) {
		d.bad = true
	}
	return f, d.err(File)
}

// DecodeAbort decodes an ABORT frame. A message of more than MaxMessage is an
// ErrTooLarge.
func DecodeAbort(p []byte) (kind int, message string, err error) {
	if len(p) > MaxMessage+1 {
		return 0, "", fmt.Errorf("%w: %s with a message of %d bytes, at most %d are allowed", ErrTooLarge, Abort, len(p)-1, MaxMessage)
	}
	d := decoder{p: p}
	kind = int(d.uint8())
	return kind, string(d.p), d.err(Abort)
}

// DecodeLoaded decodes a LOADED frame: the names of files.
func DecodeLoaded(p []byte) (files []string, err error) {
	d := decoder{p: p}
	for len(d.p) > 0 && !d.bad {
		name := string(d.take(int(d.uint32())))
		if name == "" || name[0] != '/' {
			d.bad = true
		}
		files = append(files, name)
	}
	if err := d.err(Loaded); err != nil {
		return nil, err
	}
	return files, nil
}
