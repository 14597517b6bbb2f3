package psgi

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// The banner hides a part of the page; a click closes it, without any script of its own.
func TestTheBannerCanBeClosed(t *testing.T) {
	chromium := testkit.Tool(t, "chromium", "chromium")
	var b banner
	b.set(context.DeadlineExceeded)
	const click = `<p id=told></p><script>
		const dialog = document.querySelector('dialog'), shown = () => dialog.getClientRects().length > 0
		const before = shown()
		dialog.querySelector('button').click()
		document.getElementById('told').textContent = 'shown ' + before + ', then ' + shown()
	</script>`
	dir := testkit.Tree(t, map[string]string{"page.html": "<!doctype html><h1>page</h1>" + string(*b.html.Load()) + click})
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+filepath.Join(dir, "page.html")).Output()
	if err != nil {
		t.Fatal(err)
	}
	if text := string(out); !strings.Contains(text, "shown true, then false") {
		t.Errorf("%s", text)
	}
}
