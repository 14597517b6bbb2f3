package engine

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"
)

// The attribute types RFC 4514 section 3 gives a short name.
var attributeNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.6":                    "C",
	"2.5.4.9":                    "STREET",
	"0.9.2342.19200300.100.1.25": "DC",
	"0.9.2342.19200300.100.1.1":  "UID",
}

// attribute is one of a Name, with its value as it is encoded.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeSET is a RelativeDistinguishedName; encoding/asn1 wants the name to end so.
type attributeSET []attribute

// distinguishedName formats a DER-encoded Name as RFC 4514 demands; "" when it
// cannot be parsed. pkix's own String knows neither DC nor UID, loses the order of
// attributes it has no field for, and forgets how a value was encoded.
func distinguishedName(der []byte) string {
	var rdns []attributeSET
	if _, err := asn1.Unmarshal(der, &rdns); err != nil {
		return ""
	}
	var b strings.Builder
	for i := len(rdns) - 1; i >= 0; i-- { // section 2.1: last one first
		for j, a := range rdns[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			writeAttribute(&b, a)
		}
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return b.String()
}

func writeAttribute(b *strings.Builder, a attribute) {
	oid := a.Type.String()
	name, short := attributeNames[oid]
	if !short {
		name = oid
	}
	b.WriteString(name)
	b.WriteByte('=')
	if short {
		var value any
		_, err := asn1.Unmarshal(a.Value.FullBytes, &value)
		if s, isString := value.(string); isString && err == nil {
			escapeAttribute(b, s)
			return
		}
	}
	// Section 2.4: a type in dotted form, or a value that is no string, has its
	// value as the hexadecimal BER encoding.
	b.WriteByte('#')
	b.WriteString(hex.EncodeToString(a.Value.FullBytes))
}

// escapeAttribute writes a value with the escapes of RFC 4514 section 2.4.
func escapeAttribute(b *strings.Builder, s string) {
	for i := range len(s) {
		c := s[i]
		switch {
		case c == 0:
			b.WriteString(`\00`)
			continue
		case strings.IndexByte(`"+,;<>\`, c) >= 0,
			i == 0 && (c == '#' || c == ' '),
			i == len(s)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
}
