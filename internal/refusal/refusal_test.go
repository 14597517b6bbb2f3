package refusal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestEachReasonIsAWarningOnceForAFile(t *testing.T) {
	var l Log
	log := &testkit.Log{}
	for range 3 {
		l.Tell(t.Context(), log.Logger(), Reason{Status: 403, File: "/a", Text: "dot", Option: "show_hidden", There: true})
		l.Tell(t.Context(), log.Logger(), Reason{Status: 404, File: "/b", Text: "none"})
	}
	if text := log.String(); strings.Count(text, "WARN") != 1 || strings.Count(text, "DEBUG") != 5 || !strings.Contains(text, "option=show_hidden") {
		t.Errorf("%s", text)
	}
	for i := range 300 {
		l.Tell(t.Context(), log.Logger(), Reason{Status: 403, File: strconv.Itoa(i), Text: "dot", There: true})
	}
	if n := strings.Count(log.String(), "WARN"); n < 10 || n > 100 {
		t.Errorf("300 files give %d warnings", n)
	}
}

func TestFollow(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"d/f": "x"})
	root := testkit.Tree(t, map[string]string{"d": "-> " + outside + "/d", "gone": "-> /none"})
	for _, c := range []struct {
		value, rel string
		want       error
	}{
		{"", "d/f", fs.ErrPermission}, {FollowOff, "d/f", fs.ErrPermission}, {FollowAll, "d/f", nil}, {FollowOwner, "d/f", nil},
		{FollowOwner, "gone", fs.ErrNotExist}, {FollowOwner, "none", fs.ErrNotExist},
	} {
		got, err := Follow(c.value, root, c.rel)
		if !errors.Is(err, c.want) || err == nil && got != filepath.Join(root, c.rel) {
			t.Errorf("%q, %s: %q, %v", c.value, c.rel, got, err)
		}
	}
	for value, wrong := range map[string]bool{"": false, "true": false, "false": false, "owner": false, "yes": true} {
		if err := CheckFollow(value); (err != nil) != wrong {
			t.Errorf("%q: %v", value, err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("another owner can be tried by root only")
	}
	if err := os.Lchown(filepath.Join(root, "d"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := Follow(FollowOwner, root, "d/f"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another owner's link: %v", err)
	}
}
