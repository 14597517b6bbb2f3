package psgi

import (
	"os"
	"path/filepath"
	"testing"
)

// An answer ends for its client when the application says so, not when it returns.
func TestEndBeforeTheApplicationReturns(t *testing.T) {
	for name, perl := range map[string]string{
		"a closed writer":  `my $w = $_[0]->([200, []]); $w->write('all'); $w->close;`,
		"a delayed array":  `$_[0]->([200, [], ['all']]);`,
		"a delayed handle": `open my $fh, '<', \'all'; $_[0]->([200, [], $fh]);`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := mount(t, PSGI{Env: map[string]string{"D": dir}, Code: `sub { return [200, [], [$$]] if $_[0]{PATH_INFO} eq '/pid';
				sub { ` + perl + ` select undef, undef, undef, .005 until -e "$ENV{D}/go"; die "too late\n" } }`})
			pid := m.get("/pid").body
			r := m.get("/")
			if r.err != nil || r.status != 200 || r.body != "all" || !r.ended {
				t.Errorf("%+v", r)
			}
			if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := m.get("/pid"); r.body != pid {
				t.Errorf("the worker was %s, then %+v", pid, r)
			}
			m.log.WaitFor(t, `level=ERROR msg="after the end of the answer: too late"`)
		})
	}
}

func TestDelayedBodyIsClosed(t *testing.T) {
	m := code(t, `package C; sub getline { shift @{$_[0]} } sub close { $main::closed++; die "not closed\n" }
		package main; sub { $_[0]{PATH_INFO} eq '/closed' ? [200, [], [$closed]]
			: sub { $_[0]->([200, [], bless [1..3], 'C']); $closed .= ' before the application returned' } }`)
	if r := m.get("/"); r.err != nil || r.body != "123" || !r.ended {
		t.Errorf("%+v", r)
	}
	if r := m.get("/closed"); r.body != "1 before the application returned" {
		t.Errorf("closed: %+v", r)
	}
	m.log.WaitFor(t, "the body's close method died: not closed")
}

func TestPipeBodyIsWaitedFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "done")
	m := mount(t, PSGI{Env: map[string]string{"F": file}, Code: `sub { $_[0]{PATH_INFO} eq '/done' ? [200, [], [-e $ENV{F} ? 'done' : 'too early']]
		: do { open my $fh, '-|', 'echo piped; exec >&-; sleep .1; echo > "$F"; exit 3' or die; [200, [], $fh] } }`})
	if r := m.get("/"); r.err != nil || r.body != "piped\n" || !r.ended {
		t.Errorf("%+v", r)
	}
	if r := m.get("/done"); r.body != "done" {
		t.Errorf("%+v", r)
	}
}
