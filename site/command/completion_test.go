package command

import (
	"slices"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"dra":                    {":files", "drain"},
		"he":                     {":files", "healthcheck", "help"},
		"status --js":            {"--json"},
		"status ":                {},
		"drain --d":              {"--delay"},
		"drain --status-socket ": {":files"},
		"log-level ":             {"debug", "info", "warn", "error"},
		"log-level w":            {"warn"},
		"log-level warn ":        {},
		"plugin de":              {"describe"},
		"plugin verify ":         {":files"},
		"import a ":              {":files"},
		"import --from pro":      {"procfile"},
		"completion z":           {"zsh"},
		"man ru":                 {"run-job"},
		"man --output ":          {":directories"},
		"--lifespan ":            {"auto", "on", "off"},
		"--lifespan=o":           {"--lifespan=on", "--lifespan=off"},
		"--lifespan = o":         {"on", "off"},
		"--lifespan =":           {"auto", "on", "off"},
		"-t -c ":                 {":files"},
		"-tc ":                   {":files"},
		"-c site.yaml --preloa":  {"--preload"},
		"--acme-st":              {"--acme-storage"},
		"--env dev":              {"development"},
		"-- --pre":               {":files"},
		"app.psgi ":              {":files"},
		"reload ":                {}, // no gateway is named
		"reload -c none.yaml ":   {},
	} {
		words := strings.Split(line, " ")
		got := []string{}
		for l := range strings.Lines(complete(t.Context(), words).String()) {
			word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			got = append(got, word)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if got := complete(t.Context(), nil).String(); !strings.Contains(got, "status\tTell what") {
		t.Errorf("without a word: %q", got)
	}
}
