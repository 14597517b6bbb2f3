package option

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What a value must be, in messages about site files and flags alike.
const (
	SizeForm     = "a size, as 10MB, 64KiB or a number of bytes"
	DurationForm = "a duration, as 30s or a number of seconds"
	NumberForm   = "a whole number"
	AutoForm     = `a whole number or "auto"`
)

// units are the units of sizes in lower case. Those with an i are powers of 1024, the
// others powers of 1000. K, M and G alone mean one here and the other there, so there is
// no such unit.
var units = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// sizeText is a number and its unit, wholeText a whole number. Underscores stand between digits.
var (
	sizeText  = regexp.MustCompile(`^([+-]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+))[ \t]*([a-zA-Z]*)[ \t]*$`)
	wholeText = regexp.MustCompile(`^[+-]?\d+(?:_\d+)*$`)
)

// ParseSize reads a number of bytes, which may have underscores between its digits and a
// unit: "10_000_000", "10MB", "64KiB", "1.5 GiB". Case does not matter. A size is a whole
// number of bytes; it may be negative.
func ParseSize(text string) (int64, error) {
	if parts := sizeText.FindStringSubmatch(text); parts != nil {
		unit, known := units[strings.ToLower(parts[2])]
		n, ok := new(big.Rat).SetString(strings.ReplaceAll(parts[1], "_", ""))
		if known && ok {
			n.Mul(n, new(big.Rat).SetInt64(unit))
			if n.IsInt() && n.Num().IsInt64() {
				return n.Num().Int64(), nil
			}
		}
	}
	return 0, fmt.Errorf("%q is no size", text)
}

// maxSeconds keeps a duration within what time.Duration holds.
const maxSeconds = float64(math.MaxInt64 / int64(time.Second))

// ParseDuration reads a duration with units, "1m30s", or a number of seconds. One that is not 0
// and shorter than a nanosecond is an error.
func ParseDuration(text string) (time.Duration, error) {
	seconds, err := parseFloat(text)
	if err != nil {
		d, err := time.ParseDuration(text)
		if d == 0 && err == nil && strings.ContainsAny(text, "123456789") {
			err = tooShort(text)
		}
		return d, err
	}
	if math.Abs(seconds) >= maxSeconds {
		return 0, fmt.Errorf("%s is no number of seconds that can be waited for", text)
	}
	d := time.Duration(seconds * float64(time.Second))
	if d == 0 && seconds != 0 {
		return 0, tooShort(text)
	}
	return d, nil
}

func tooShort(text string) error { return fmt.Errorf("%s is shorter than a nanosecond", text) }

// parseWhole reads a whole number, which may have underscores between its digits.
func parseWhole(text string) (int64, error) {
	if !wholeText.MatchString(text) {
		return 0, errForm
	}
	return strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
}

// parseFloat reads a finite number in decimal.
func parseFloat(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && (strings.ContainsAny(text, "xX_") || math.IsNaN(n) || math.IsInf(n, 0)) {
		err = errForm
	}
	return n, err
}

// Form says what the value of the field must be: "a whole number".
func (f Field) Form() string {
	switch {
	case f.isDuration():
		return DurationForm
	case f.IsSize():
		return SizeForm
	case f.IsAuto():
		return AutoForm
	case f.Value.CanInt():
		return NumberForm
	case f.Value.CanFloat():
		return "a number"
	case f.Value.Kind() == reflect.Bool:
		return "true or false"
	}
	return "text"
}

// Auto is the value of a number that was written as "auto". As a number it cannot be meant.
const Auto = -1 << 31

// IsAuto reports whether the field may be "auto".
func (f Field) IsAuto() bool { return f.Tag.Get("auto") == "yes" }

// errForm is the error of Set where the value is not of the field's Form.
var errForm = errors.New("is not of the right form")

// Set reads a value from text. It is for numbers, sizes, durations, text, and true or
// false; its error is errForm.
func (f Field) Set(text string) error {
	v := f.Value
	switch {
	case f.isDuration():
		d, err := ParseDuration(text)
		if err != nil {
			return errForm
		}
		v.SetInt(int64(d))
	case v.CanInt():
		parse := parseWhole
		if f.IsSize() {
			parse = ParseSize
		}
		if f.IsAuto() && text == "auto" {
			v.SetInt(Auto)
			return nil
		}
		n, err := parse(text)
		if err != nil || v.OverflowInt(n) {
			return errForm
		}
		v.SetInt(n)
	case v.CanFloat():
		n, err := parseFloat(text)
		if err != nil {
			return errForm
		}
		v.SetFloat(n)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return errForm
		}
		v.SetBool(text == "true")
	case v.Kind() == reflect.String:
		v.SetString(text)
	default:
		return errForm
	}
	return nil
}
