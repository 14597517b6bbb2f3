package packaged

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// needed are the packages of Debian that the deb and its scripts need, with those that they need themselves.
var needed = []string{"adduser", "init-system-helpers", "dash", "coreutils", "perl-base", "libc-bin", "sed", "grep", "base-passwd", "debianutils", "login"}

// debian makes a root directory of the files of this machine's packages, with their entries in the database of dpkg.
func debian(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can install a package into another root directory")
	}
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "dev", "run", "tmp", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	depends := exec.Command("apt-cache", append([]string{"depends", "--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances"}, needed...)...)
	show := []string{"--show", "--showformat", "${db:Status-Status} ${binary:Package}\n"}
	for line := range strings.Lines(must(t, depends)) {
		if name := strings.TrimSpace(line); !strings.ContainsAny(name, " |<") && name != "" {
			show = append(show, name)
		}
	}
	shown, err := exec.Command("dpkg-query", show...).Output() // fails for alternatives that are not installed
	var packages []string
	for line := range strings.Lines(string(shown)) {
		name, is := strings.CutPrefix(strings.TrimSpace(line), "installed ")
		if is && !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
	}
	if len(packages) < len(needed) {
		t.Fatalf("of %q only %q are installed: %v", show[3:], packages, err)
	}
	var list strings.Builder
	for line := range strings.Lines(must(t, exec.Command("dpkg-query", append([]string{"--listfiles"}, packages...)...))) {
		file := strings.TrimSpace(line)
		if info, err := os.Lstat(file); err == nil && !info.IsDir() && !isLeftOut(file) {
			list.WriteString(strings.TrimPrefix(file, "/") + "\n")
		}
	}
	list.WriteString("etc/passwd\netc/group\netc/shadow\netc/gshadow\netc/ld.so.cache\n")
	for _, file := range []string{"etc/nsswitch.conf", "etc/adduser.conf", "etc/login.defs", "bin/sh"} {
		if _, err := os.Lstat("/" + file); err == nil {
			list.WriteString(file + "\n")
		}
	}
	names := filepath.Join(t.TempDir(), "files")
	if err := os.WriteFile(names, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("sh", "-c", `tar -C / -cf - -T "$0" | tar -C "$1" -xf - --keep-directory-symlink`, names, root))
	status := must(t, exec.Command("dpkg-query", append([]string{"--status"}, packages...)...))
	for name, text := range map[string]string{"var/lib/dpkg/status": status, "dev/null": ""} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "dev/null"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range packages {
		must(t, exec.Command("sh", "-c", `for f in /var/lib/dpkg/info/"$0".list; do [ ! -e "$f" ] || cp "$f" "$1"; done`, name, filepath.Join(root, "var/lib/dpkg/info")))
	}
	for dir := root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) { // the gateway's user must reach its root directory
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := within(root, "sh", "-c", "getent passwd root && perl -e 1").CombinedOutput(); err != nil {
		t.Skipf("no program can be run in another root directory: %v %s", err, out)
	}
	return root
}

func isLeftOut(file string) bool {
	for _, dir := range []string{"/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/", "/usr/lib/x86_64-linux-gnu/gconv/", "/lib/x86_64-linux-gnu/gconv/"} {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return false
}

// within returns a command that runs in a root directory.
func within(root, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("chroot", append([]string{root, name}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "HOME=/root", "LC_ALL=C.UTF-8"}
	return cmd
}

// paths returns the paths below a root directory that do not belong to dpkg, with what is in the lists of users.
func paths(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		switch {
		case name == "/var/lib/dpkg" || name == "/var/lib/systemd/deb-systemd-helper-enabled" || name == "/run": // which is gone at the next start
			return fs.SkipDir
		case name == "/etc/systemd" || name == "/etc/systemd/system": // of systemd, which is not installed here
		case strings.HasPrefix(name, "/etc/") && strings.HasSuffix(name, "-"): // copies of passwd and group
		case strings.HasSuffix(name, ".lock") || name == "/var/lib/systemd" || name == "/var/log":
		default:
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/passwd", "etc/group"} {
		all = append(all, strings.Split(string(read(t, filepath.Join(root, name))), "\n")...)
	}
	return all
}

// install goes the way of a package: it is installed, serves, is given an imported site, upgraded, removed and purged.
func install(t *testing.T, deb string) {
	root := debian(t)
	before := paths(t, root)
	dpkg := func(args ...string) {
		t.Helper()
		cmd := exec.Command("dpkg", append([]string{"--root=" + root}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
		must(t, cmd)
	}
	dpkg("--install", deb)
	if who := must(t, within(root, "getent", "passwd", "pagi-bridge")); !strings.Contains(who, ":/var/lib/pagi-bridge:/usr/sbin/nologin") {
		t.Errorf("the user is %q", who)
	}
	if unit := filepath.Join(root, "etc/systemd/system/multi-user.target.wants/pagi-bridge.service"); !exists(unit) {
		t.Error("the service is not enabled")
	}
	if unit := filepath.Join(root, "etc/systemd/system/sockets.target.wants/pagi-bridge.socket"); exists(unit) {
		t.Error("the socket is enabled; it may take the port of another server")
	}
	must(t, within(root, "pagi-bridge", "-t", "-c", "/etc/pagi-bridge/site.yaml"))

	g := serve(t, root)
	if res, text := testkit.Get(t, http.DefaultClient, g.URL+"/"); res.StatusCode != 200 || !strings.Contains(text, "pagi-bridge is running") {
		t.Errorf("the first page: %d %s", res.StatusCode, text)
	}
	if out := must(t, within(root, "pagi-bridge", "healthcheck", "-c", "/etc/pagi-bridge/site.yaml")); out != "ready\n" {
		t.Errorf("healthcheck: %q", out)
	}
	if out := must(t, within(root, "pagi-bridge", "top", "--once", "--interval", "100ms", "-c", "/etc/pagi-bridge/site.yaml")); !strings.Contains(out, "/usr/share/pagi-bridge/welcome") && !strings.Contains(out, "file") {
		t.Errorf("top: %s", out)
	}
	g.Stop(syscall.SIGTERM)

	moveApache(t, root)
	dpkg("--install", deb) // as an upgrade
	if text := string(read(t, filepath.Join(root, "etc/pagi-bridge/site.yaml"))); !strings.Contains(text, "cgi:") {
		t.Errorf("the upgrade has replaced the site file:\n%s", text)
	}
	dpkg("--remove", "pagi-bridge")
	if !exists(filepath.Join(root, "etc/pagi-bridge/site.yaml")) || exists(filepath.Join(root, "usr/bin/pagi-bridge")) {
		t.Error("a removal leaves the files of configuration, and nothing else")
	}
	dpkg("--purge", "pagi-bridge")
	if err := os.RemoveAll(filepath.Join(root, "srv")); err != nil { // of this test
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, paths(t, root)); diff != "" {
		t.Errorf("what the package has left (+):\n%s", diff)
	}
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// execStart is the command of the service.
var execStart = regexp.MustCompile(`(?m)^ExecStart=(.*)$`)

// serve runs the command of the installed service as its user, at a free port.
func serve(t *testing.T, root string) *testkit.Program {
	t.Helper()
	m := execStart.FindSubmatch(read(t, filepath.Join(root, "lib/systemd/system/pagi-bridge.service")))
	if m == nil {
		t.Fatal("the unit has no ExecStart")
	}
	who := strings.Split(must(t, within(root, "getent", "passwd", "pagi-bridge")), ":")
	dir := filepath.Join(root, "run/pagi-bridge") // systemd makes it by RuntimeDirectory
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, within(root, "chown", who[2]+":"+who[3], "/run/pagi-bridge"))
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	command := append(strings.Fields(string(m[1])), "--listen", "127.0.0.1:0")
	cmd := exec.Command("chroot", append([]string{"--userspec=" + who[2] + ":" + who[3], root}, command...)...)
	cmd.Env = []string{"PATH=/usr/bin"}
	return testkit.Start(t, cmd)
}

// apache is the configuration that is moved in, and a script of it.
const (
	apache = "<VirtualHost *:80>\n  ServerName www.example.org\n  DocumentRoot /srv/www\n  ScriptAlias /cgi-bin/ /srv/cgi-bin/\n</VirtualHost>\n"
	script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s as %s' \"$SERVER_NAME\" \"$(id -un)\"\n"
)

// moveApache makes the site file of a configuration of Apache and serves by it.
func moveApache(t *testing.T, root string) {
	t.Helper()
	for name, text := range map[string]string{"srv/apache.conf": apache, "srv/cgi-bin/hello": script, "srv/www/index.html": "the old page"} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, within(root, "pagi-bridge", "import", "/srv/apache.conf", "-o", "/srv/site.yaml"))
	// The root directory has no /proc, in which an adapter finds its program.
	must(t, within(root, "sh", "-c", "{ echo 'status_socket: /run/pagi-bridge/status.sock'; echo 'isolate: none'; cat /srv/site.yaml; } > /etc/pagi-bridge/site.yaml"))
	g := serve(t, root)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", strings.TrimPrefix(g.URL, "http://"))
	}}}
	for path, want := range map[string]string{"/": "the old page", "/cgi-bin/hello": "www.example.org as pagi-bridge"} {
		if res, text := testkit.Get(t, client, "http://www.example.org"+path); res.StatusCode != 200 || text != want {
			t.Errorf("%s: %d %q, want %q", path, res.StatusCode, text, want)
		}
	}
	g.Stop(syscall.SIGTERM)
}
