package roff

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPage(t *testing.T) {
	p := New("some-thing", 1, "1.0", "Manual")
	p.Section("name")
	p.Text("some-thing \\ does `a-b`\n\n.not a request\n'nor this")
	p.Item("`-c`, `--config` _FILE_", "read it")
	p.Item("`-x`", "")
	p.Code("a: b\n.c")
	want := `.TH SOME\-THING 1 "" "pagi-bridge 1.0" "Manual"
.nh
.ad l
.SH "NAME"
some\-thing \e does \fBa\-b\fR
.PP
\&.not a request
\&'nor this
.TP
\fB\-c\fR, \fB\-\-config\fR \fIFILE\fR
read it
.TP
\fB\-x\fR
\&
.PP
.nf
.RS 4
a: b
\&.c
.RE
.fi
`
	if diff := cmp.Diff(want, p.String()); diff != "" {
		t.Error(diff)
	}
}
