package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
)

// placeholders turns the placeholder of a flag's value, {SIZE} in the tag help, into the form of
// pflag. The backquotes of that form cannot appear in a tag.
var placeholders = strings.NewReplacer("{", "`", "}", "`")

// defineFrom defines a flag for each option of a struct that has the tag help. The tag flag is its
// letter. The flag's line in the help ends with the default and the meaning of 0.
func (o *options) defineFrom(target any) {
	for _, field := range option.Fields(target) {
		help := placeholders.Replace(field.Tag.Get("help"))
		if help == "" {
			continue
		}
		var notes []string
		switch field.Tag.Get("zero") {
		case "off":
			notes = append(notes, "0: no limit")
		case "none":
			notes = append(notes, "0: no time at all")
		}
		if value := field.Tag.Get("default"); value != "" {
			notes = append(notes, "default "+value)
		}
		if len(notes) > 0 {
			help += " (" + strings.Join(notes, "; ") + ")"
		}
		name, letter := flagName(strings.ReplaceAll(field.Name, "_", "-")), field.Tag.Get("flag")
		to := field.Value.Addr().Interface()
		switch v := to.(type) {
		case *bool:
			o.set.BoolVarP(v, name, letter, false, help)
		case *time.Duration:
			o.set.VarP((*durationFlag)(v), name, letter, help)
		default:
			o.set.VarP(optionFlag{field}, name, letter, help)
		}
	}
}

// optionFlag is a flag of an option that is text, a number or a size.
type optionFlag struct{ option.Field }

func (f optionFlag) String() string {
	if !f.Value.IsValid() { // pflag makes a zero flag to compare with
		return ""
	}
	return fmt.Sprint(f.Value.Interface())
}

// Type returns the placeholder of the value in the help, which also tells its form.
func (f optionFlag) Type() string {
	switch {
	case f.IsSize():
		return "SIZE"
	case f.IsAuto():
		return "N|auto"
	case f.Value.CanInt():
		return "N"
	}
	return "string"
}

// Set reads a value.
func (f optionFlag) Set(text string) error { return f.Field.Set(text) }
