package command

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

var documentedField = regexp.MustCompile("`([a-z_][a-z0-9_]*)`")

// The table of docs/operations.md names the fields of the status, each object's at its place, and no
// others. The example there is one of that type.
func TestStatusIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "has the same and more, for programs:\n\n```json\n")
	example, table, _ := strings.Cut(example, "```")
	decoder := json.NewDecoder(strings.NewReader(example))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&status.Gateway{}); err != nil {
		t.Errorf("the example: %v", err)
	}
	documented := map[string][]string{}
	_, table, _ = strings.Cut(table, "| where | fields |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		where, fields, _ := strings.Cut(strings.Trim(row, "|\n "), " | ")
		name := ""
		if m := documentedField.FindStringSubmatch(where); m != nil {
			name = m[1]
		}
		for _, m := range documentedField.FindAllStringSubmatch(fields, -1) {
			if m[1] != "psgi" { // a kind of mount
				documented[name] = append(documented[name], m[1])
			}
		}
	}
	actual := map[string][]string{}
	collectFields(reflect.TypeFor[status.Gateway](), "", actual)
	for name, fields := range actual {
		slices.Sort(fields)
		slices.Sort(documented[name])
		if !slices.Equal(fields, documented[name]) {
			t.Errorf("%q has %v, documented are %v", name, fields, documented[name])
		}
	}
	if len(documented) != len(actual) {
		t.Errorf("%d objects are documented, there are %d", len(documented), len(actual))
	}
}

// collectFields puts the JSON names of a type's fields into all, under the name of the field that
// has the type.
func collectFields(typ reflect.Type, name string, all map[string][]string) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		inner := field.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if field.Anonymous {
			collectFields(inner, name, all)
			continue
		}
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		all[name] = append(all[name], tag)
		if _, seen := all[tag]; inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() && !seen {
			collectFields(inner, tag, all)
		}
	}
}
