package apps

import (
	"path"
	"strings"
)

// mimeTypes gives the media type of a file by its extension in lower case. It is
// built in so that a site answers the same on every machine.
var mimeTypes = map[string]string{
	"aac": "audio/aac", "apng": "image/apng", "atom": "application/atom+xml", "avi": "video/x-msvideo", "avif": "image/avif",
	"bin": "application/octet-stream", "bmp": "image/bmp", "br": "application/x-brotli", "bz2": "application/x-bzip2",
	"c": "text/plain", "cjs": "text/javascript", "conf": "text/plain", "css": "text/css", "csv": "text/csv",
	"deb": "application/vnd.debian.binary-package", "diff": "text/x-diff", "doc": "application/msword",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"eot":  "application/vnd.ms-fontobject", "epub": "application/epub+zip", "flac": "audio/flac", "gif": "image/gif", "go": "text/plain",
	"gz": "application/gzip", "h": "text/plain", "heic": "image/heic", "htm": "text/html", "html": "text/html",
	"ico": "image/x-icon", "ics": "text/calendar", "ini": "text/plain", "iso": "application/x-iso9660-image",
	"jar": "application/java-archive", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript",
	"json": "application/json", "jsonld": "application/ld+json", "jxl": "image/jxl", "log": "text/plain",
	"m3u8": "application/vnd.apple.mpegurl", "m4a": "audio/mp4", "m4v": "video/mp4", "map": "application/json", "markdown": "text/markdown",
	"md": "text/markdown", "mid": "audio/midi", "mjs": "text/javascript", "mkv": "video/matroska", "mov": "video/quicktime",
	"mp3": "audio/mpeg", "mp4": "video/mp4", "mpeg": "video/mpeg", "odp": "application/vnd.oasis.opendocument.presentation",
	"ods": "application/vnd.oasis.opendocument.spreadsheet", "odt": "application/vnd.oasis.opendocument.text",
	"oga": "audio/ogg", "ogg": "audio/ogg", "ogv": "video/ogg", "opus": "audio/ogg", "otf": "font/otf", "patch": "text/x-diff",
	"pdf": "application/pdf", "pl": "text/plain", "pm": "text/plain", "png": "image/png", "pod": "text/plain",
	"ppt": "application/vnd.ms-powerpoint", "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"ps": "application/postscript", "psgi": "text/plain", "py": "text/plain", "rpm": "application/x-rpm", "rss": "application/rss+xml", "rtf": "application/rtf",
	"sh": "text/plain", "sql": "text/plain", "svg": "image/svg+xml", "svgz": "image/svg+xml", "t": "text/plain", "tar": "application/x-tar", "tgz": "application/gzip",
	"tif": "image/tiff", "tiff": "image/tiff", "toml": "application/toml", "ts": "video/mp2t", "tsv": "text/tab-separated-values", "ttf": "font/ttf",
	"txt": "text/plain", "vcf": "text/vcard", "vtt": "text/vtt", "wasm": "application/wasm", "wav": "audio/wav", "weba": "audio/webm",
	"webm": "video/webm", "webmanifest": "application/manifest+json", "webp": "image/webp", "woff": "font/woff", "woff2": "font/woff2",
	"xhtml": "application/xhtml+xml", "xls": "application/vnd.ms-excel", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"xml": "application/xml", "xsl": "application/xml", "xz": "application/x-xz", "yaml": "application/yaml", "yml": "application/yaml",
	"zip": "application/zip", "zst": "application/zstd", "7z": "application/x-7z-compressed",
}

// contentType returns the Content-Type of the file called name: own types first,
// then the built-in ones, then otherwise. A text type gets the charset.
func contentType(name string, own map[string]string, otherwise, charset string) string {
	ext := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	t, ok := own[ext]
	if !ok {
		if t, ok = mimeTypes[ext]; !ok {
			t = otherwise
		}
	}
	if charset != "" && strings.HasPrefix(t, "text/") && !strings.Contains(t, ";") {
		t += "; charset=" + charset
	}
	return t
}
