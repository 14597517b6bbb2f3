package apps

import (
	"bytes"
	"path"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// packings are the content codings of files that are stored compressed, by extension.
var packings = map[string]string{"gz": "gzip", "br": "br", "zst": "zstd", "svgz": "gzip"}

// unpacked are the extensions of files that a page needs. "app.js.gz" is a script that was
// compressed beforehand. "backup.tar.gz", "log.txt.gz" and "primary.xml.gz" are archives: a client
// wants them as they are, and compares their checksums.
var unpacked = func() map[string]bool {
	all := map[string]bool{}
	for ext := range strings.FieldsSeq("htm html xhtml css js mjs cjs svg wasm webmanifest ttf otf glb gltf") {
		all[ext] = true
	}
	return all
}()

// packingOf returns the content coding that the extension of a file names, and the name without
// that extension.
func packingOf(name string) (packing, inner string) {
	ext := httpfile.Extension(name)
	packing = packings[ext]
	switch {
	case packing == "":
	case ext == "svgz":
		return packing, name
	default:
		if inner = strings.TrimSuffix(name, path.Ext(name)); unpacked[httpfile.Extension(inner)] {
			return packing, inner
		}
	}
	return "", name
}

// acceptsCoding reports whether a request accepts a content coding, by its name or by "*". A
// request without Accept-Encoding does not: such clients store what they get.
func acceptsCoding(h pagi.Headers, coding string) bool {
	if coding == "gzip" {
		return quality(h, "accept-encoding", "gzip", "x-gzip", "*") > 0
	}
	return quality(h, "accept-encoding", coding, "*") > 0
}

// typeOf returns the media type of an open file. It also returns a Content-Encoding where the name
// tells one and the client accepts it; otherwise the file is an archive. varies reports that the
// result depends on the client.
func (f *File) typeOf(file *httpfile.File, h pagi.Headers) (mediaType, packing string, varies bool) {
	name := file.Name
	if f.Types[httpfile.Extension(name)] == "" { // a type that the operator has given counts alone
		packing, name = packingOf(name)
	}
	if varies = packing != ""; varies && !acceptsCoding(h, packing) {
		packing, name = "", file.Name
		if httpfile.Extension(name) == "svgz" {
			name = "image.gz"
		}
	}
	return httpfile.MediaType(name, f.Types, or(f.DefaultType, httpfile.DefaultType)), packing, varies
}

// contentTypeOf returns the Content-Type of an open file of a media type. It may read the
// file's beginning.
func (f *File) contentTypeOf(file *httpfile.File, mediaType, packing string) string {
	charset := f.Charset
	switch {
	case charset == "off":
		charset = ""
	case charset == "":
		charset = "utf-8"
		if declares(mediaType) && (packing != "" || namesAnother(file, charset)) {
			charset = ""
		}
	}
	return httpfile.WithCharset(mediaType, charset)
}

// declares reports whether a file of the type can name its charset itself.
func declares(mediaType string) bool { return mediaType == "text/html" || mediaType == "text/css" }

// headSize is how much of a page browsers look through for its charset (the HTML standard,
// section 4.2.5.4).
const headSize = 1024

// namesAnother reports whether the beginning of a page or style sheet names another
// charset, by a <meta> element, a rule or a byte order mark.
func namesAnother(file *httpfile.File, charset string) bool {
	var room [headSize]byte
	head := room[:min(headSize, file.Size)]
	n, _ := file.ReadAt(head, 0) // an error of reading shows when the body is sent
	head = head[:n]
	if bytes.HasPrefix(head, []byte("\xfe\xff")) || bytes.HasPrefix(head, []byte("\xff\xfe")) {
		return true
	}
	named := charsetOf(bytes.ToLower(head))
	return named != "" && named != charset && named != strings.ReplaceAll(charset, "-", "")
}

// charsetOf finds the charset that a page or style sheet names; text is in lower case.
func charsetOf(text []byte) string {
	if rule, is := bytes.CutPrefix(text, []byte(`@charset "`)); is {
		return label(rule)
	}
	for {
		i := bytes.Index(text, []byte("charset"))
		if i < 0 {
			return ""
		}
		tag := text[bytes.LastIndexByte(text[:i], '<')+1 : i]
		text = text[i+len("charset"):]
		value, is := bytes.CutPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("="))
		if is && bytes.HasPrefix(tag, []byte("meta")) {
			return label(bytes.TrimLeft(value, " \t\r\n\"'"))
		}
	}
}

// label returns the name of a charset that text begins with.
func label(text []byte) string {
	end := bytes.IndexFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r))
	})
	if end < 0 {
		end = len(text)
	}
	return string(text[:end])
}
