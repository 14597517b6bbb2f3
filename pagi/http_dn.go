package pagi

import (
	"crypto/x509/pkix"
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

// distinguishedName formats a DER-encoded Name as RFC 4514 demands; "" when it
// cannot be parsed. pkix's own String knows neither DC nor UID and loses the
// order of attributes it has no field for.
func distinguishedName(der []byte) string {
	var rdns pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &rdns); err != nil {
		return ""
	}
	var b strings.Builder
	for i := len(rdns) - 1; i >= 0; i-- { // section 2.1: last one first
		for j, attribute := range rdns[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			writeAttribute(&b, attribute)
		}
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return b.String()
}

func writeAttribute(b *strings.Builder, a pkix.AttributeTypeAndValue) {
	oid := a.Type.String()
	name, short := attributeNames[oid]
	if !short {
		name = oid
	}
	b.WriteString(name)
	b.WriteByte('=')
	value, isString := a.Value.(string)
	if short && isString {
		escapeAttribute(b, value)
		return
	}
	// Section 2.4: a type in dotted form, or a value that is no string, has its
	// value as the hexadecimal BER encoding.
	der, err := asn1.Marshal(a.Value)
	if err != nil {
		return
	}
	b.WriteByte('#')
	b.WriteString(hex.EncodeToString(der))
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
