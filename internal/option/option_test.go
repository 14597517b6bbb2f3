package option_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/option"
)

func TestASizeHasAUnitOrCountsBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "65536": 65536, "10_000_000": 10_000_000, "-1": -1, "9223372036854775807": 9223372036854775807,
		"1B": 1, "10kB": 10_000, "10KB": 10_000, "10MB": 10_000_000, "2GB": 2_000_000_000, "1TB": 1_000_000_000_000,
		"64KiB": 65536, "10MiB": 10 << 20, "4GiB": 4 << 30, "1TiB": 1 << 40, "1.5KiB": 1536, "10 MB": 10_000_000, "64kib": 65536,
	} {
		if got, err := option.ParseSize(text); got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for tenths := int64(1); tenths < 1000; tenths++ {
		text := fmt.Sprintf("%d.%dMB", tenths/10, tenths%10)
		if got, err := option.ParseSize(text); got != tenths*100_000 || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"1_", "_1", "1__0", "1_KB", "9.3EB", "9223372036854775808", "8388608TiB", "", "10M", "1G", "64K", "KiB", "1.5", "1.0001KiB", "1e3", "1e3KB", "0x10", "inf", "NaN", "10 PB", "10MB x", "9999999TiB", "nanB", "--1"} {
		if got, err := option.ParseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestADurationIsNotRoundedToNothing(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "0.000000001": 1, "1ns": 1, "1e3": 1000 * time.Second, "-1": -time.Second, "1m30s": 90 * time.Second} {
		if got, err := option.ParseDuration(text); got != want || err != nil {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"0.0000000001", "0.1ns", "1e-20", "-0.5ns", "0x1p-2", "0x10", "inf", "NaN", "1_", ""} {
		if got, err := option.ParseDuration(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestANumberIsWrittenInDecimal(t *testing.T) {
	var o options
	fields := option.Fields(&o)
	number, ratio := fields[1], fields[4+1]
	for _, text := range []string{"1_000", "-5", "+5", "0"} {
		if err := number.Set(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"1_", "_1", "1__0", "0x10", "1.0", ""} {
		if number.Set(text) == nil {
			t.Errorf("%q is the whole number %d", text, o.Number)
		}
	}
	for _, text := range []string{"0x1p-2", "0x_1p-2", "inf", "NaN", ""} {
		if ratio.Set(text) == nil {
			t.Errorf("%q is the number %g", text, o.Inner.Ratio)
		}
	}
}

type inner struct {
	Wait  time.Duration `yaml:"wait" default:"90s"`
	Ratio float64       `yaml:"ratio" default:"0.1"`
}

type options struct {
	Size   int64  `yaml:"size" unit:"bytes" default:"64KiB" old:"bytes,length"`
	Number int    `yaml:"number" default:"5"`
	Name   string `yaml:"name" default:"x"`
	Plain  bool
	inner  int
	Inner  inner  `yaml:",inline"`
	Hidden string `yaml:"-"`
	F      func()
	E      error
}

func TestFieldsAreTheOptionsInOrder(t *testing.T) {
	o := options{inner: 1}
	var names []string
	for _, f := range option.Fields(&o) {
		names = append(names, f.Name+" "+f.Form())
	}
	want := []string{"size " + option.SizeForm, "number a whole number", "name text", "plain true or false", "wait " + option.DurationForm, "ratio a number"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if got := option.Fields(&o)[0].OldNames(); !cmp.Equal(got, []string{"bytes", "length"}) {
		t.Errorf("old names: %q", got)
	}
	if option.Fields(o) != nil || option.Fields(&names) != nil {
		t.Error("what is no pointer to a struct has fields")
	}
}

func TestWhatIsNotSetIsInherited(t *testing.T) {
	o, from := options{Number: 1}, options{Number: 2, Name: "from", Plain: true, Inner: inner{Ratio: 3}}
	option.Inherit(&o, &from, func(name string) bool { return name == "plain" || name == "name" })
	if o.Number != 1 || o.Name != "from" || o.Plain || o.Inner.Ratio != 3 {
		t.Errorf("got %+v", o)
	}
}

func TestDefaultsTakeTheZeroValuesPlaceAlone(t *testing.T) {
	o := options{Number: -1}
	option.SetDefaults(&o)
	if o.Size != 65536 || o.Number != -1 || o.Name != "x" || o.Inner.Wait != 90*time.Second || o.Inner.Ratio != 0.1 {
		t.Errorf("got %+v", o)
	}
	defer func() {
		if recover() == nil {
			t.Error("a default that cannot be read is accepted")
		}
	}()
	option.SetDefaults(&struct {
		N int `default:"many"`
	}{})
}

func TestANumberThatMayBeAuto(t *testing.T) {
	var o struct {
		Most int `yaml:"most" auto:"yes"`
	}
	f := option.Fields(&o)[0]
	if f.Form() != option.AutoForm {
		t.Errorf("it is %s", f.Form())
	}
	if err := f.Set("auto"); err != nil || o.Most != option.Auto {
		t.Errorf("auto: %v, %d", err, o.Most)
	}
	if err := option.CheckSigns(&o); err != nil {
		t.Error(err)
	}
	if err := f.Set("7"); err != nil || o.Most != 7 {
		t.Errorf("7: %v, %d", err, o.Most)
	}
	for _, wrong := range []string{"Auto", "many", ""} {
		if f.Set(wrong) == nil {
			t.Errorf("%q is allowed", wrong)
		}
	}
}
