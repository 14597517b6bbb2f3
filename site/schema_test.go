package site_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pagi-go/pagi-bridge/docs"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/site"
	"github.com/pagi-go/pagi-bridge/site/schema"
)

// validator is the schema of site files, compiled by a validator of other people.
func validator(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := schema.JSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("site.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("site.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks a site file with a schema.
func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// load loads a text as a site file. Every variable of the environment has the value.
func load(t *testing.T, dir, value string, text []byte) error {
	t.Helper()
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := site.Loader{LookupEnv: func(string) (string, bool) { return value, true }}.Load(file)
	return err
}

// TestTheSchemaAcceptsWhatIsRight takes the examples, and what the documentation shows and Load accepts.
func TestTheSchemaAcceptsWhatIsRight(t *testing.T) {
	s := validator(t)
	files := 0
	for _, dir := range []string{"../examples", "testdata/right", "../packaging", "../internal"} {
		err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(file)
			if err == nil && bytes.Contains(text, []byte("mounts:")) {
				files++
				if err := validate(t, s, text); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 6 {
		t.Errorf("only %d site files were found", files)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, blocks := t.TempDir(), 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)```yaml[^\n]*\n(.*?)```").FindAllSubmatch(text, -1) {
			source := bytes.ReplaceAll(m[1], []byte("include:"), []byte("#")) // those files are not there
			if !bytes.Contains(source, []byte("mounts:")) {
				source = append(source, "\nmounts: [{redirect: /}]\n"...)
			}
			if load(t, dir, "1", source) != nil {
				continue // a part of a site file
			}
			blocks++
			if err := validate(t, s, source); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, source)
			}
		}
	}
	if blocks < 50 {
		t.Errorf("only %d blocks were looked at", blocks)
	}
}

// unseen are the files of testdata/wrong whose mistakes are in values, in other files or in what the YAML library reads.
var unseen = []string{
	"anchors", "circle", "duplicate_key", "syntax", "two_documents", // JSON has no such thing
	"empty",                                                            // an included file may be without mounts
	"lifespan_off", "missing_files", "places", "redirects", "sendfile", // values, and what they name
	"tls", "twice", "twice_by_host", "twice_in_hosts", "workers",
}

func TestTheSchemaSeesStructuralMistakes(t *testing.T) {
	s := validator(t)
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if slices.Contains(unseen, strings.TrimSuffix(filepath.Base(file), ".yaml")) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if validate(t, s, text) == nil {
			t.Errorf("%s: nothing is wrong with it by the schema", file)
		}
	}
}

// shape is a place of site files in which options stand: a text with %s for "key: value".
type shape struct{ part, text string }

// shapes are the places of all options.
func shapes(t *testing.T) (all []shape) {
	t.Helper()
	mount := func(text string) string { return "mounts: [" + text + "]" }
	g := site.NewGrammar()
	all = append(all, shape{"", "{%s, mounts: [{redirect: /}]}"}, shape{"mount", mount("{redirect: /, %s}")})
	for _, kind := range g.KindNames() {
		switch kind {
		case site.KindGo:
		case site.KindRouter:
			all = append(all, shape{kind, mount("{router: [{path: /, redirect: /}], %s}")}, shape{"route", mount("{router: [{redirect: /x, %s}]}")})
		case site.KindCascade, site.KindShadow:
			all = append(all, shape{kind, mount("{" + kind + ": [{redirect: /}], %s}")})
		default:
			all = append(all, shape{kind, mount("{" + kind + ": {%s}}")}, shape{kind, mount("{" + kind + ": {}, %s}")},
				shape{kind, mount("{cascade: [{" + kind + ": {%s}}]}")})
		}
	}
	for name := range g.Middlewares {
		all = append(all, shape{name, "{middleware: [{" + name + ": {%s}}], mounts: [{redirect: /}]}"})
	}
	return all
}

// TestTheSchemaIsAsStrictAsLoad gives every option values of several forms, and one option of each type all of them. The schema accepts what Load accepts, and refuses what
// it refuses. Where the documentation lists the values of a text, or calls options required, the schema knows more.
func TestTheSchemaIsAsStrictAsLoad(t *testing.T) {
	s, dir, tried, options := validator(t), t.TempDir(), 0, site.DocumentedOptions()
	values := []string{"7", `"7"`, "-1", "1.5", "word", "true", `"true"`, "90s", "64KiB", "10M", "[a]", "[1, 2]", "[]", "{a: b}", "[{a: b}]", "[[a]]", `"${X}"`}
	seen := map[string]bool{} // forms of options that have had all values
	for _, sh := range shapes(t) {
		for _, f := range append(options[sh.part], option.Field{Name: "unheard_of"}) {
			row, _ := docs.Find(sh.part, f.Name)
			variable := "1"
			if f.Value.IsValid() && strings.HasSuffix(f.Value.Type().String(), "bool") {
				variable = "true"
			}
			form := fmt.Sprint(sh.part == "", sh.text[:10], f.Value.IsValid())
			if f.Value.IsValid() {
				form += fmt.Sprint(f.Value.Type(), f.Tag.Get("unit"), f.Tag.Get("zero"), f.Tag.Get("form"), f.Tag.Get("short"))
			}
			some := values
			if seen[form] {
				some = []string{"7", "word", "[{a: b}]"}
			}
			seen[form] = true
			for _, value := range some {
				pair := f.Name + ": " + value
				if outer, inner, is := strings.Cut(f.Name, "."); is {
					pair = outer + ": {" + inner + ": " + value + "}"
					if deep, last, is := strings.Cut(inner, "."); is {
						pair = outer + ": {" + deep + ": {" + last + ": " + value + "}}"
					}
				}
				text := fmt.Appendf(nil, sh.text, pair)
				loaded, valid := load(t, dir, variable, text), validate(t, s, text)
				tried++
				if loaded == nil && valid != nil && (row.Values() != nil || strings.Contains(valid.Error(), "missing propert")) {
					continue
				}
				if (loaded == nil) != (valid == nil) {
					t.Errorf("%s\n  Load: %v\n  schema: %v", text, loaded, valid)
				}
			}
		}
	}
	t.Logf("%d site files", tried)
	if tried < 3000 {
		t.Errorf("only %d site files were made", tried)
	}
}

// TestTheSchemaHasEveryKey looks for each key that the decoder knows, with a description.
func TestTheSchemaHasEveryKey(t *testing.T) {
	text, err := schema.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Properties map[string]any `json:"properties"`
		Defs       map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for part, keys := range site.DocumentedKeys() {
		var have map[string]any
		switch _, isKind := root.Defs["kind."+part]; {
		case part == "":
			have = root.Properties
		case part == "mount" || part == "route":
			have = root.Defs[part+".keys"].Properties
		case part == site.KindGo:
			continue
		case part == site.KindRouter:
			have = root.Defs["mount.router"].Properties
		case isKind:
			have = root.Defs["kind."+part].Properties
		default:
			have = root.Defs["middleware."+part].Properties
		}
		for _, key := range keys {
			top, _, nested := strings.Cut(key, ".")
			entry, _ := have[top].(map[string]any)
			if entry == nil {
				t.Errorf("%s: the schema lacks %s", part, key)
			} else if _, isRef := entry["$ref"]; !nested && !isRef && entry["description"] == nil && part != "security_headers" {
				t.Errorf("%s: %s has no description", part, key)
			}
		}
	}
}

// TestListedValuesAreThoseThatAreChecked compares the values that the documentation lists, which the schema takes over, with
// what the options accept.
func TestListedValuesAreThoseThatAreChecked(t *testing.T) {
	looked := 0
	for part, fields := range site.DocumentedOptions() {
		for _, f := range fields {
			row, _ := docs.Find(part, f.Name)
			values := row.Values()
			if values == nil || f.Form() != "text" || strings.Contains(f.Name, ".") {
				continue
			}
			looked++
			for _, value := range append(values, "certainly-wrong") {
				err := site.CheckWith(part, f.Name, value)
				refused := err != nil && strings.Contains(err.Error(), f.Name+": must be")
				if refused != (value == "certainly-wrong") {
					t.Errorf("%s: %s: %s: %v", part, f.Name, value, err)
				}
			}
		}
	}
	if looked < 5 {
		t.Errorf("only %d options were looked at", looked)
	}
}
