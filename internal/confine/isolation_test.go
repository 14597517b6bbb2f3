package confine

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/option"
)

var yes, no = true, false

func TestEqualIsolationsHaveOneKey(t *testing.T) {
	for name, pair := range map[string][2]Isolation{
		"nothing":                       {{}, {}},
		"the order of lists":            {{Read: []string{"/a", "/b"}}, {Read: []string{"/b", "/a/", "/a"}}},
		"the default written down":      {{User: "u"}, {User: "u", NoNewPrivileges: &yes}},
		"what a zero Isolation has":     {{}, {NoNewPrivileges: &no}},
		"a share in another spelling":   {{CPU: "50%"}, {CPU: "050 %"}},
		"the same name and the options": {{Name: "x", Nice: 1}, {Name: "x", Nice: 1}},
	} {
		if a, b := pair[0].Key(), pair[1].Key(); a != b {
			t.Errorf("%s: %s and %s", name, a, b)
		}
	}
	for name, pair := range map[string][2]Isolation{
		"a name":                       {{}, {Name: "x"}},
		"no privileges as only option": {{}, {NoNewPrivileges: &yes}},
		"privileges":                   {{User: "u"}, {User: "u", NoNewPrivileges: &no}},
		"an empty list, and none":      {{}, {Read: []string{}}},
		"another list":                 {{Read: []string{"/a"}}, {Write: []string{"/a"}}},
		"what is insisted on":          {{Memory: 1 << 30}, {Memory: 1 << 30, Require: []string{"all"}}},
	} {
		if a, b := pair[0].Key(), pair[1].Key(); a == b {
			t.Errorf("%s: both are %s", name, a)
		}
	}
}

// TestEachOptionChangesTheKey sets the fields one after another.
func TestEachOptionChangesTheKey(t *testing.T) {
	seen := map[string]string{Isolation{}.Key(): "nothing"}
	var i Isolation
	for _, f := range option.Fields(&i) {
		switch v := f.Value; v.Kind() {
		case reflect.String:
			v.SetString("50%")
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.ValueOf([]string{"x"}))
		case reflect.Pointer:
			v.Set(reflect.ValueOf(&no))
		default:
			t.Fatalf("%s is a %v", f.Name, v.Kind())
		}
		key := i.Key()
		if other, twice := seen[key]; twice {
			t.Errorf("%s and %s have the key %s", f.Name, other, key)
		}
		seen[key] = f.Name
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		isolation Isolation
		want      string // "" is no error
	}{
		"nothing":                     {Isolation{}, ""},
		"none":                        {Isolation{Name: "none"}, ""},
		"none with an option":         {Isolation{Name: "none", Nice: 1}, "name: none goes with no other option"},
		"none with a demand":          {Isolation{Name: "none", Require: []string{"all"}}, "name: none goes with no other option"},
		"a name with a slash":         {Isolation{Name: "a/b"}, "name: must be letters"},
		"a group alone":               {Isolation{Group: "g"}, "group: needs user"},
		"groups alone":                {Isolation{SupplementaryGroups: []string{"g"}}, "supplementary_groups: needs user"},
		"little memory":               {Isolation{Memory: 1000}, "memory: must be at least 32MiB"},
		"negative memory":             {Isolation{Memory: -1}, "memory: must not be negative"},
		"enough memory":               {Isolation{Memory: 32 << 20}, ""},
		"little memory of a process":  {Isolation{ProcessMemory: 1 << 20}, "process_memory: must be at least 256MiB"},
		"few processes":               {Isolation{Processes: 31}, "processes: must be at least 32"},
		"few files":                   {Isolation{OpenFiles: 3}, "open_files: must be at least 64"},
		"a nice too large":            {Isolation{Nice: 20}, "nice: must be from -20 to 19"},
		"a negative nice":             {Isolation{Nice: -20}, ""},
		"half a processor":            {Isolation{CPU: "50%"}, ""},
		"a share without a sign":      {Isolation{CPU: "1.5"}, "cpu: must be a share"},
		"no share":                    {Isolation{CPU: "0%"}, "cpu: must be a share"},
		"ports":                       {Isolation{Network: []string{"443", "bind:8080"}}, ""},
		"no port":                     {Isolation{Network: []string{"none"}}, ""},
		"no port and one":             {Isolation{Network: []string{"none", "443"}}, "network: none goes with no other"},
		"the port 0":                  {Isolation{Network: []string{"0"}}, "network: must be none"},
		"a port too large":            {Isolation{Network: []string{"bind:65536"}}, "network: must be none"},
		"Landlock with privileges":    {Isolation{Read: []string{"/srv"}, NoNewPrivileges: &no}, "no_new_privileges: read, write and network need it"},
		"a relative name":             {Isolation{Read: []string{"srv"}}, `read: must be absolute names, "srv" is none`},
		"a relative name to write":    {Isolation{Write: []string{"srv"}}, `write: must be absolute names`},
		"a variable with a value":     {Isolation{PassEnv: []string{"A=b"}}, "pass_env: must be names"},
		"a pattern in the middle":     {Isolation{PassEnv: []string{"A*B"}}, "pass_env: must be names"},
		"all variables":               {Isolation{PassEnv: []string{"*"}}, ""},
		"a feature that there is not": {Isolation{Require: []string{"landlok"}}, "landlock"},
	} {
		err := c.isolation.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestVariablesThatComeAlong(t *testing.T) {
	all := []string{"PATH=/bin", "SECRET=x", "LC_ALL=C", "LC=no", "A=1", "A=2", "TMPDIR=/tmp"}
	got := environment(all, []string{"PATH", "LC_*", "A", "TMPDIR"}, []string{"TMPDIR=/own", "B=3"})
	if want := []string{"PATH=/bin", "LC_ALL=C", "A=2", "TMPDIR=/own", "B=3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if got := environment(all, nil, nil); got != nil {
		t.Errorf("%q come along without being named", got)
	}
}
