package httpfile

import (
	"slices"
	"testing"
)

func TestParseRanges(t *testing.T) {
	for header, want := range map[string]struct {
		ranges []byteRange
		ok     bool
	}{
		"bytes=0-4":                    {[]byteRange{{0, 5}}, true},
		"bytes=5-":                     {[]byteRange{{5, 5}}, true},
		"bytes=-3":                     {[]byteRange{{7, 3}}, true},
		"bytes=-30":                    {[]byteRange{{0, 10}}, true},
		"bytes=8-99999999999999999999": {[]byteRange{{8, 2}}, true},
		"bytes=0-0, 9-9":               {[]byteRange{{0, 1}, {9, 1}}, true},
		"bytes=0-0,20-":                {[]byteRange{{0, 1}}, true},
		"Bytes = 1-1":                  {[]byteRange{{1, 1}}, true},
		"bytes=10-":                    {nil, false},
		"bytes=-0":                     {nil, false},
		"bytes=4-2":                    {nil, true},
		"bytes=x-":                     {nil, true},
		"bytes=":                       {nil, true},
		"lines=0-1":                    {nil, true},
		"bytes=0-9,0-9":                {nil, true}, // more than the file has
	} {
		if ranges, ok := parseRanges(header, 10); !slices.Equal(ranges, want.ranges) || ok != want.ok {
			t.Errorf("%q: %v, %v", header, ranges, ok)
		}
	}
}

func FuzzParseRanges(f *testing.F) {
	for _, seed := range []string{"bytes=0-4", "bytes=-1,5-", "bytes=9-1", "bytes=,,", "bytes=18446744073709551616-", "x=1-2"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		ranges, _ := parseRanges(header, size)
		total := int64(0)
		for _, r := range ranges {
			if r.start < 0 || r.length <= 0 || r.start > size-r.length {
				t.Errorf("%q of %d: %+v", header, size, r)
			}
			total += r.length
		}
		if len(ranges) > maxRanges || len(ranges) > 1 && total > size {
			t.Errorf("%q of %d: %d ranges with %d bytes", header, size, len(ranges), total)
		}
	})
}
