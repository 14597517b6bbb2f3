package certpool_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/certpool"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestRead(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"none.pem": "no certificate"})
	none := filepath.Join(dir, "none.pem")
	if _, err := certpool.Read(none); err == nil || err.Error() != none+": there is no certificate in it" {
		t.Error(err)
	}
	if _, err := certpool.Read(filepath.Join(dir, "gone.pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
