package nethttp

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// eventHeaders returns a net/http header map in the form of events, sorted by name. It leaves out
// trailers that are kept in the map for later.
func eventHeaders(from http.Header) pagi.Headers {
	names := make([]string, 0, len(from))
	lines := 0
	for name, values := range from {
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			names = append(names, name)
			lines += len(values)
		}
	}
	slices.Sort(names)
	headers := make(pagi.Headers, 0, lines)
	for _, name := range names {
		for _, v := range from[name] {
			headers = append(headers, pagi.Header{Name: headername.Lower(name), Value: v})
		}
	}
	return headers
}

// fillHeader adds headers to a net/http header map.
func fillHeader(to http.Header, headers pagi.Headers) {
	values := make([]string, len(headers))
	for i := range headers {
		key := headername.Canonical(headers[i].Name)
		if earlier, ok := to[key]; ok {
			to[key] = append(earlier, headers[i].Value)
			continue
		}
		values[i] = headers[i].Value
		to[key] = values[i : i+1 : i+1]
	}
}

// requestHeaders returns the request's headers: host first, then the others sorted by name, those
// of one name in their original order. net/http keeps no order across names, and has removed
// transfer-encoding.
func requestHeaders(r *http.Request) pagi.Headers {
	type field struct {
		name   string
		values []string
	}
	var scratch [24]field
	fields := scratch[:0]
	lines := 2 // host, content-length
	for name, values := range r.Header {
		lines += len(values)
		fields = append(fields, field{name, values})
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })

	headers := make(pagi.Headers, 0, lines)
	if r.Host != "" {
		headers = append(headers, pagi.Header{Name: "host", Value: r.Host})
	}
	haveLength := false
	for _, f := range fields {
		values := f.values
		lower := headername.Lower(f.name)
		switch lower {
		case "host", "transfer-encoding", ":protocol":
			continue
		case "content-length":
			haveLength = true
		case "cookie":
			if len(values) > 1 {
				headers = append(headers, pagi.Header{Name: lower, Value: strings.Join(values, "; ")})
				continue
			}
		}
		for _, v := range values {
			headers = append(headers, pagi.Header{Name: lower, Value: v})
		}
	}
	if len(r.Trailer) > 0 { // net/http has removed the header Trailer
		headers = append(headers, pagi.Header{Name: "trailer", Value: headername.Lower(strings.Join(slices.Sorted(maps.Keys(r.Trailer)), ", "))})
	}
	if !haveLength && r.ContentLength > 0 {
		headers = append(headers, pagi.Header{Name: "content-length", Value: strconv.FormatInt(r.ContentLength, 10)})
	}
	return headers
}
