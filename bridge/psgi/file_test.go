package psgi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The gateway itself sends a file that stays; the worker sends the bytes of other handles.
func TestFileBodies(t *testing.T) {
	const content = "0123456789"
	cases := []struct {
		name, perl string
		body       string
		file       bool
	}{
		{"a file handle", `sub { open my $fh, '<', $ENV{FILE} or die; [200, [], $fh] }`, content, true},
		{"a glob", `sub { open FH, '<', $ENV{FILE} or die; [200, [], *FH] }`, content, true},
		{"an IO::File", `use IO::File; sub { [200, [], IO::File->new($ENV{FILE}, 'r')] }`, content, true},
		{"a FileHandle", `use FileHandle; sub { [200, [], FileHandle->new($ENV{FILE}, 'r')] }`, content, true},
		{"a handle read from", `sub { open my $fh, '<', $ENV{FILE} or die; read $fh, my $x, 4; [200, [], $fh] }`, "456789", false},
		{"a handle at another place", `sub { open my $fh, '<', $ENV{FILE} or die; seek $fh, 4, 0; [200, [], $fh] }`, "456789", true},
		{"a handle with a path", `package P; use parent 'IO::File'; sub path { $ENV{FILE} } package main; sub { [200, [], P->new($ENV{FILE}, 'r')] }`, content, true},
		{"a delayed handle with a path", `package P; use parent 'IO::File'; sub path { $ENV{FILE} } package main; sub { sub { $_[0]->([200, [], P->new($ENV{FILE}, 'r')]) } }`, content, true},

		{"a file of this process that the request has written", `sub { open my $out, '>', "$ENV{FILE}.$$" or die; print $out 'written'; close $out; open my $in, '<', "$ENV{FILE}.$$" or die; [200, [], $in] }`, "written", false},
		{"a file that the request has put there", `sub { open my $out, '>', "$ENV{FILE}.new" or die; print $out 'written'; close $out; utime 1, 1, "$ENV{FILE}.new"; rename "$ENV{FILE}.new", $ENV{FILE} or die; open my $in, '<', $ENV{FILE} or die; [200, [], $in] }`, "written", false},
		{"a file that is empty", `sub { open my $fh, '<', '/dev/null' or die; [200, [], $fh] }`, "", false},
		{"a handle with a layer", `sub { open my $fh, '<:crlf', $ENV{FILE} or die; [200, [], $fh] }`, content, false},
		{"a handle with another file's path", `package Q; use parent 'IO::File'; sub path { '/etc/hostname' } package main; sub { [200, [], Q->new($ENV{FILE}, 'r')] }`, content, false},
		{"a delayed handle", `sub { sub { open my $fh, '<', $ENV{FILE} or die; $_[0]->([200, [], $fh]) } }`, content, false},
		{"a delayed handle of a file that is removed", `sub { sub { open my $fh, '<', $ENV{FILE} or die; $_[0]->([200, [], $fh]); unlink $ENV{FILE} } }`, content, false},
		{"a class that filters", `package F; use parent 'IO::File'; sub getline { my $l = shift->SUPER::getline; $l =~ tr/0-9/a-j/ if defined $l; $l } package main; sub { [200, [], F->new($ENV{FILE}, 'r')] }`, "abcdefghij", false},
		{"a class that filters and has a path", `package F; use parent 'IO::File'; sub path { $ENV{FILE} } sub getline { my $l = shift->SUPER::getline; $l =~ tr/0-9/a-j/ if defined $l; $l } package main; sub { [200, [], F->new($ENV{FILE}, 'r')] }`, "abcdefghij", false},
		{"a temporary file", `use File::Temp; sub { my $fh = File::Temp->new; print $fh 'temporary'; seek $fh, 0, 0; [200, [], $fh] }`, "temporary", false},
		{"a temporary file with a path", `package T; use parent -norequire => 'File::Temp'; sub path { shift->filename } package main; use File::Temp; sub { my $fh = T->new; print $fh 'temporary'; seek $fh, 0, 0; [200, [], $fh] }`, "temporary", false},
		{"the handle of a temporary file", `use File::Temp; sub { my $t = File::Temp->new; print $t 'temporary'; close $t; open my $fh, '<', $t->filename or die; [200, [], $fh] }`, "temporary", false},
		{"a file without a name", `sub { open my $fh, '+>', undef or die; print $fh 'nameless'; seek $fh, 0, 0; [200, [], $fh] }`, "nameless", false},
		{"a file that close removes", `package R; use parent 'IO::File'; sub path { $ENV{FILE} } sub close { unlink $ENV{FILE}; shift->SUPER::close } package main; sub { [200, [], R->new($ENV{FILE}, 'r')] }`, content, false},
		{"a file that a cleanup handler removes", `sub { push @{ $_[0]{'psgix.cleanup.handlers'} }, sub { unlink $ENV{FILE} or die }; open my $fh, '<', $ENV{FILE} or die; [200, [], $fh] }`, content, false},
		{"a file that goes with the worker", `sub { $_[0]{'psgix.harakiri.commit'} = 1; open my $fh, '<', $ENV{FILE} or die; [200, [], $fh] }`, content, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "file.txt")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			m := mount(t, PSGI{Code: c.perl, Env: map[string]string{"FILE": file}})
			r := m.get("/")
			if r.err != nil || r.status != 200 || r.body != c.body || !r.ended || r.file != c.file {
				t.Errorf("status %d, %q, file %v, ended %v, error %v; want %q, file %v",
					r.status, r.body, r.file, r.ended, r.err, c.body, c.file)
			}
		})
	}
}

// A file that has become shorter since the worker looked at it is not sent as the whole answer.
// Nothing was sent yet, so the client gets an error status.
func TestFileThatBecomesShorter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(file, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	// The file is cut behind the back of the frame that names it.
	m := mount(t, PSGI{Code: `package P; use parent 'IO::File'; sub path { $ENV{FILE} }
		package main; no warnings 'redefine'; require PagiBridge::File; my $real = \&PagiBridge::File::payload;
		*PagiBridge::File::payload = sub { my $p = $real->(@_); truncate $ENV{FILE}, 50_000; $p };
		sub { [200, [], P->new($ENV{FILE}, 'r')] }`, Env: map[string]string{"FILE": file}})
	r := m.get("/")
	if r.err == nil || !strings.Contains(r.err.Error(), "became shorter") || r.ended {
		t.Errorf("status %d, %d bytes, ended %v, error %v", r.status, len(r.body), r.ended, r.err)
	}
}
