package plugin

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

type testConfig struct {
	Name    string            `yaml:"name" required:"yes" help:"its name"`
	Count   int               `yaml:"count" default:"3"`
	Small   uint8             `yaml:"small"`
	Ratio   float64           `yaml:"ratio"`
	On      bool              `yaml:"on"`
	Size    int64             `yaml:"size" unit:"bytes" default:"1KiB"`
	Wait    time.Duration     `yaml:"wait" default:"5s"`
	List    []string          `yaml:"list"`
	Map     map[string]string `yaml:"map"`
	Pointer *int              `yaml:"pointer"`
	Inner   struct {
		Deep  string `yaml:"deep" default:"d"`
		Parts []struct {
			Port int `yaml:"port"`
		} `yaml:"parts"`
	} `yaml:"inner"`
}

func (c *testConfig) Check() error {
	if c.Name == "bad" {
		return errors.Join(pagi.BadOption("name", "must not be %q", c.Name), errors.New("it is all wrong"))
	}
	return nil
}

func TestDecode(t *testing.T) {
	var c testConfig
	errs := decode([]byte(`{"name":"n","small":255,"ratio":0.5,"on":true,"size":"2KiB","wait":7,"list":"one","map":{"a":"b"},"pointer":0,"inner":{"parts":[{"port":80},{"port":"81"}]}}`), &c)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if c.Count != 3 || c.Small != 255 || c.Size != 2048 || c.Wait != 7*time.Second || len(c.List) != 1 || c.Map["a"] != "b" || c.Pointer == nil ||
		c.Inner.Deep != "d" || c.Inner.Parts[1].Port != 81 {
		t.Errorf("%+v", c)
	}
	for text, want := range map[string]string{
		`{}`:                              "name: is missing",
		`{"name":"n","cuont":1}`:          `cuont: there is no option of this name; did you mean "count"?`,
		`{"name":"n","inner":{"deap":1}}`: `inner.deap: there is no option of this name; did you mean "inner.deep"?`,
		`{"name":"n","inner":{"parts":[{"prot":1}]}}`: `inner.parts[0].prot: there is no option of this name; did you mean "inner.parts[0].port"?`,
		`{"name":"n","inner":1}`:                      "inner: must be a mapping, is 1",
		`{"name":"n","count":1.5}`:                    "count: must be a whole number, is 1.5",
		`{"name":"n","small":256}`:                    "small: must be a whole number, 0 or more, is 256",
		`{"name":"n","small":-1}`:                     "small: must be a whole number, 0 or more, is -1",
		`{"name":"n","on":"true"}`:                    `on: must be true or false, is "true"`,
		`{"name":"n","list":{}}`:                      "list: must be a list, is a mapping",
		`{"name":null}`:                               "name: must be text, is empty",
		`{"name":"n","map":3}`:                        "map: must be a mapping, is 3",
		`{"name":"bad"}`:                              `name: must not be "bad"; : it is all wrong`,
		`[]`:                                          ": the options are no JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}",
		`{} {}`:                                       ": the options are more than one JSON object",
	} {
		var got []string
		for _, e := range decode([]byte(text), &testConfig{}) {
			got = append(got, e.Field+": "+e.Message)
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if errs := decode(nil, nil); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := decode([]byte(`{"a":1}`), nil); len(errs) != 1 || errs[0].Field != "a" {
		t.Error(errs)
	}
}

func TestDescribe(t *testing.T) {
	var got []string
	for _, f := range describe(&testConfig{}, "") {
		got = append(got, f.Name+" "+f.Type+" "+f.Default)
	}
	want := "name text ,count whole number 3,small whole number ,ratio number ,on true or false ,size size 1KiB,wait duration 5s,list list ," +
		"map mapping ,pointer whole number ,inner mapping ,inner.deep text d,inner.parts list "
	if strings.Join(got, ",") != want {
		t.Errorf("%s", strings.Join(got, ","))
	}
}

// Whatever JSON comes, decode does not fail otherwise than by its errors, and an unknown option is one of them.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"n","inner":{"parts":[{"port":80}]},"list":["a"],"wait":"5s"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c testConfig
		errs := decode(text, &c)
		var values map[string]json.RawMessage
		if json.Unmarshal(text, &values) != nil {
			return
		}
		if _, unknown := values["unknown"]; unknown && len(errs) == 0 {
			t.Error("an unknown option is taken")
		}
		for _, e := range errs {
			if e.Message == "" {
				t.Error("an error without a message")
			}
		}
	})
}
