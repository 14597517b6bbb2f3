package httpfile

import (
	"os"
	"path"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// DefaultType is the media type of a file whose name tells none.
const DefaultType = "application/octet-stream"

// Extension returns the extension of a file's name, in lower case and without its dot.
func Extension(name string) string { return strings.ToLower(strings.TrimPrefix(path.Ext(name), ".")) }

// MediaType returns the media type of the file called name. It looks into own, then into the
// built-in types, then into the system's. It returns otherwise where none has the extension.
func MediaType(name string, own map[string]string, otherwise string) string {
	ext := Extension(name)
	if t, ok := own[ext]; ok {
		return t
	}
	if t, ok := mimeTypes[ext]; ok {
		return t
	}
	if t, ok := systemTypes()[ext]; ok {
		return t
	}
	return otherwise
}

// WithCharset adds a charset to a text type that has no parameters; "" adds none.
func WithCharset(mediaType, charset string) string {
	if charset != "" && strings.HasPrefix(mediaType, "text/") && !strings.Contains(mediaType, ";") {
		return mediaType + "; charset=" + charset
	}
	return mediaType
}

// mimeFiles are the files in which systems keep their media types.
var mimeFiles = []string{"/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types", "/usr/local/etc/mime.types"}

// systemTypes are the media types of the first of mimeFiles that exists.
var systemTypes = sync.OnceValue(func() map[string]string {
	for _, name := range mimeFiles {
		if table, err := os.ReadFile(name); err == nil {
			return parseTypes(string(table))
		}
	}
	return nil
})

// parseTypes reads a table of lines "type extension extension...".
func parseTypes(table string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(table) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		for _, ext := range fields[min(1, len(fields)):] {
			if ext = strings.ToLower(ext); all[ext] == "" && (pagi.Headers{{Name: "x", Value: fields[0]}}).Validate("") == nil {
				all[ext] = fields[0]
			}
		}
	}
	return all
}
