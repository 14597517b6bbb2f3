package site_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
)

func TestVariablesOfTheEnvironmentStandInValues(t *testing.T) {
	env := map[string]string{"HOME_DIR": "/srv/home", "N": "7", "YES": "true", "EMPTY": "", "SIZE": "10MB", "PORT": "81"}
	s, problem := loadTree(t, map[string]string{"site.yaml": `
listen: ["127.0.0.1:${PORT}", {address: ":${PORT}", proxy: "${YES}"}]
workers: ${N}
preload: ${YES}
max_body_size: ${SIZE}
timeout: ${UNSET:-5m}
max_age: ${EMPTY:-2}
access_log_format: '$x %{Referer}i $ ${EMPTY}$${N} $$ %>s'
environment: "a-${N}-${UNSET:-b}-c"
mounts:
  - path: /${EMPTY}x
    psgi: ${HOME_DIR}/app.psgi
    env: {A: "${N}", B: "$${N}", C: plain, "${N}": key}
    modules: [A, "${UNSET:-B}"]
  - path: /code
    psgi: {code: 'my $x = ${N}; sub { "${UNSET}" }'}
  - path: /f
    file: .
    index: ["${N}.html"]
    precompressed: ${YES}
  - not_found: |
      Not ${N}.
`}, env)
	if s == nil {
		t.Fatal(problem)
	}
	set := s.Settings
	a, code, f := s.Mounts[0].Options.(*psgi.PSGI), s.Mounts[1].Options.(*psgi.PSGI), s.Mounts[2].Options.(*apps.File)
	got := []any{set.Listen, set.Workers, set.Preload, set.MaxBodySize, set.Timeout, set.MaxAge, set.AccessLogFormat, set.Environment, s.Mounts[0].Path, a.App, a.Env, a.Modules,
		code.Code, f.Index, f.Precompressed, s.Mounts[3].Options.(*apps.NotFound).Body}
	want := []any{[]string{"127.0.0.1:81", ":81,proxy"}, 7, true, int64(10_000_000), 5 * time.Minute, 2 * time.Second, "$x %{Referer}i $ ${N} $$ %>s", "a-7-b-c", "/x", "/srv/home/app.psgi",
		map[string]string{"A": "7", "B": "${N}", "C": "plain", "${N}": "key"}, []string{"A", "B"}, `my $x = ${N}; sub { "${UNSET}" }`, []string{"7.html"}, true, "Not 7.\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAVariableThatCannotBePutInIsAProblem(t *testing.T) {
	for text, want := range map[string]string{
		"workers: ${WORKERS}":              "site.yaml:1:10: the environment has no variable WORKERS; give it a default, as in ${WORKERS:-default}, or write $${WORKERS} if it is none",
		"workers: ${MANY}":                 `site.yaml:1:10: workers: must be a whole number or "auto", is the value of "${MANY}"`,
		"preload: \"${MANY}\"":             `site.yaml:1:10: preload: must be true or false, is the value of "${MANY}"`,
		"environment: a${}":                "site.yaml:1:14: ${} is neither ${NAME} nor ${NAME:-default}; write $${} if it is no variable of the environment",
		"environment: a${x-y}":             "site.yaml:1:14: ${x-y} is neither ${NAME} nor ${NAME:-default}; write $${x-y} if it is no variable of the environment",
		"environment: a${x":                "site.yaml:1:14: ${x is neither ${NAME} nor ${NAME:-default}; write $${x if it is no variable of the environment",
		"lib: [a, '${GONE}']":              "site.yaml:1:10: the environment has no variable GONE; give it a default, as in ${GONE:-default}, or write $${GONE} if it is none",
		"tls: {cert: \"${GONE}\", key: k}": "site.yaml:1:13: the environment has no variable GONE; give it a default, as in ${GONE:-default}, or write $${GONE} if it is none",
	} {
		t.Run(text, func(t *testing.T) {
			_, got := loadTree(t, map[string]string{"site.yaml": text + "\nmounts: [{file: .}]\n"}, map[string]string{"MANY": "many"})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, got := loadTree(t, map[string]string{"site.yaml": "mounts:\n  - psgi: a.psgi\n    env: &e {A: '${GONE}', B: *e}\n"}, nil)
	want := "site.yaml:3:17: the environment has no variable GONE; give it a default, as in ${GONE:-default}, or write $${GONE} if it is none"
	if got[:len(want)] != want {
		t.Errorf("in a mapping: %s", got)
	}
}

func TestAVariableIsPutIntoAnAnchoredValueOnce(t *testing.T) {
	const text = "mounts:\n  - psgi: a.psgi\n    %s\n  - path: /b\n    psgi: a.psgi\n    %s\n"
	for name, lines := range map[string][2]string{
		"texts of two mappings":           {"env: {A: &a '${X}', B: *a}", "env: {A: *a, B: *a}"},
		"a mapping and its alias":         {"env: &e {A: '${X}', B: '${X}'}", "env: *e"},
		"a text alone and in a mapping":   {"environment: &a '${X}'\n    env: {A: *a}", "env: {A: *a}\n    environment: *a"},
		"a text in a mapping, then alone": {"env: {A: &a '${X}'}\n    environment: *a", "env: {A: *a}"},
	} {
		t.Run(name, func(t *testing.T) {
			s, problem := loadTree(t, map[string]string{"site.yaml": fmt.Sprintf(text, lines[0], lines[1])}, map[string]string{"X": "$${Y} ${Z}"})
			if s == nil {
				t.Fatal(problem)
			}
			for _, m := range s.Mounts {
				app := m.Options.(*psgi.PSGI)
				for _, got := range append(slices.Collect(maps.Values(app.Env)), app.Environment) {
					if got != "" && got != "$${Y} ${Z}" {
						t.Errorf("%s: %q", m.Name(), got)
					}
				}
			}
		})
	}
}
