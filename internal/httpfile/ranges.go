package httpfile

import (
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxRanges is how many ranges one request may ask for. A request for more gets the whole file.
const maxRanges = 100

// byteRange is a part of a file; length is never 0.
type byteRange struct{ start, length int64 }

// contentRange returns the value of Content-Range for a file of the given size.
func (r byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.start, r.start+r.length-1, size)
}

// parseRanges reads a Range header (RFC 9110 section 14.2). It returns no ranges and ok where the
// header is to be ignored: another unit, a syntax error, too many ranges, more bytes asked for than
// the file has, or an empty file. ok is false when the header is valid but no range lies inside the
// file, which is answered 416.
func parseRanges(header string, size int64) (ranges []byteRange, ok bool) {
	if size == 0 {
		return nil, true // a client that always asks for ranges, as some caches do, gets what there is
	}
	unit, list, found := strings.Cut(header, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, true
	}
	var total int64
	any := false
	for spec := range strings.SplitSeq(list, ",") {
		spec = strings.TrimSpace(spec)
		if spec == "" {
			continue
		}
		r, valid := parseRange(spec, size)
		if !valid {
			return nil, true
		}
		any = true
		if r.length > 0 {
			ranges = append(ranges, r)
			total += r.length
		}
	}
	switch {
	case !any || len(ranges) > maxRanges || len(ranges) > 1 && total > size:
		return nil, true
	case len(ranges) == 0:
		return nil, false
	}
	return ranges, true
}

// parseRange reads "first-last", "first-" or "-suffix". The length is 0 when the
// range lies outside the file.
func parseRange(spec string, size int64) (byteRange, bool) {
	first, last, dash := strings.Cut(spec, "-")
	if !dash {
		return byteRange{}, false
	}
	if first == "" {
		n, ok := number(last)
		n = min(n, size)
		return byteRange{size - n, n}, ok
	}
	start, ok := number(first)
	if !ok {
		return byteRange{}, false
	}
	end := size - 1
	if last != "" {
		if end, ok = number(last); !ok || end < start {
			return byteRange{}, false
		}
		end = min(end, size-1)
	}
	return byteRange{start, max(0, end-start+1)}, true
}

// number reads digits. A number that does not fit becomes the largest one.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<62 - 1, true
	}
	return n, true
}

// multipartRanges returns a multipart/byteranges body (RFC 9110 section 14.6) that
// is read from file as it is sent, with its Content-Type and length.
func multipartRanges(file io.ReaderAt, size int64, partType string, ranges []byteRange) (body io.Reader, contentType string, length int64) {
	boundary := rand.Text()
	var parts []io.Reader
	text := func(s string) {
		parts = append(parts, strings.NewReader(s))
		length += int64(len(s))
	}
	for i, r := range ranges {
		lead := "\r\n"
		if i == 0 {
			lead = ""
		}
		text(lead + "--" + boundary + "\r\nContent-Type: " + partType + "\r\nContent-Range: " + r.contentRange(size) + "\r\n\r\n")
		parts = append(parts, io.NewSectionReader(file, r.start, r.length))
		length += r.length
	}
	text("\r\n--" + boundary + "--\r\n")
	return io.MultiReader(parts...), "multipart/byteranges; boundary=" + boundary, length
}
