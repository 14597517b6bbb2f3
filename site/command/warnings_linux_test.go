package command_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// expired writes a self-signed certificate that has expired, and its key.
func expired(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatTheUserCannotUseIsSaid, at the start and by -t: files that root has opened or read.
func TestWhatTheUserCannotUseIsSaid(t *testing.T) {
	dir := nobodys(t, map[string]string{
		"public/f.txt": "x", "secret/f.txt": "x", "app.cgi": script, "closed.cgi": script, "logs/": "",
		"site.yaml": "listen: [127.0.0.1:0, ./s]\nuser: nobody\nstatus_socket: run/status\npid_file: pid\nlog_file: logs/log\naccess_log: logs/access\naccess_log_max_size: 1048576\n" +
			"tls: {cert: cert.pem, key: key.pem}\nmounts:\n  - {path: /, file: public}\n  - {path: /s, directory: secret}\n  - {path: /a, cgi: app.cgi}\n  - {path: /c, cgi: closed.cgi}\n",
	})
	expired(t, dir)
	for name, mode := range map[string]os.FileMode{".": 0o755, "logs": 0o755, "secret": 0o700, "closed.cgi": 0o700, "app.cgi": 0o755, "public": 0o755, "site.yaml": 0o600} {
		path := filepath.Join(dir, name)
		if err := os.Chown(path, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	const denied = ": permission denied; it is needed "
	want := []string{
		"user nobody cannot read site.yaml" + denied + "at HUP",
		"tls.cert: user nobody cannot read cert.pem" + denied + "when it changes",
		"tls.key: user nobody cannot read key.pem" + denied + "when it changes",
		"log_file: user nobody cannot make files in logs" + denied + "at USR1, to open the file anew",
		"access_log: user nobody cannot make files in logs" + denied + "when the file is put aside",
		"listen: user nobody cannot make files in ." + denied + "to remove the socket at the end",
		"directory.root: user nobody cannot read secret" + denied + "for requests",
		"cgi.script: user nobody cannot run closed.cgi" + denied + "for requests",
		"TLS certificate cert.pem: it has expired at ",
	}
	code, stdout, stderr := once(t, dir, "-t", "-c", "site.yaml")
	if code != 0 || stdout != "site.yaml: OK\n" || strings.Count(stderr, "\n") != len(want) {
		t.Errorf("%d %q %d lines %s", code, stdout, strings.Count(stderr, "\n"), stderr)
	}
	for _, text := range want {
		if !strings.Contains(stderr, "pagi-bridge: warning: "+text) {
			t.Errorf("-t does not say %q", text)
		}
	}
	g := start(t, dir, "-c", "site.yaml")
	log, err := os.ReadFile(filepath.Join(dir, "logs/log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range want[:len(want)-1] {
		if !strings.Contains(string(log), "level=WARN msg=\""+text+"\"") {
			t.Errorf("the start does not say %q", text)
		}
	}
	if !strings.Contains(string(log), "level=WARN msg=\"TLS certificate: it has expired at ") || strings.Contains(string(log), "as root") {
		t.Errorf("%s", log)
	}
	// The status socket's directory was made for the user.
	if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Sys().(*syscall.Stat_t).Uid != 65534 {
		t.Errorf("%v, %v", info, err)
	}
	if code, stdout, stderr := once(t, dir, "status", "--json", "--status-socket", "run/status"); code != 0 || !strings.Contains(stdout, fmt.Sprint(g.Process.Pid)) {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := os.Chown(filepath.Join(dir, "run"), 0, 0); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := once(t, dir, "-t", "-c", "site.yaml"); code != 2 || !strings.Contains(stderr, "status_socket: the directory run must belong to user 65534, who runs this process; it belongs to user 0") {
		t.Errorf("%d %s", code, stderr)
	}
}

// TestATemporaryDirectoryThatIsNotTheUsers checks that the gateway reports it before it starts the
// first worker.
func TestATemporaryDirectoryThatIsNotTheUsers(t *testing.T) {
	dir := nobodys(t, map[string]string{"app.psgi": app, "f.txt": "x"})
	own := t.TempDir()
	if err := os.Chmod(own, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", own)
	for served, want := range map[string]string{"app.psgi": "pagi-bridge: warning: TMPDIR: user nobody cannot make files in " + own, ".": ""} {
		if code, _, stderr := once(t, dir, "-t", "-p", "0", "--user", "nobody", served); code != 0 || !strings.HasPrefix(stderr, want) || (want == "") != (stderr == "") {
			t.Errorf("%s: %d %q", served, code, stderr)
		}
	}
}

// TestRootIsToldOnce to serve as another user, unless scripts have users of their own.
func TestRootIsToldOnce(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it is about root")
	}
	dir := nobodys(t, map[string]string{"a.cgi": script, "f.txt": "x", "own.yaml": "listen: 127.0.0.1:0\nmounts: [{path: /, cgi: {script: a.cgi, user: nobody}}]\n"})
	for line, want := range map[string]int{"-p 0 .": 1, "-p 0 --user nobody .": 0, "-c own.yaml": 0} {
		g := start(t, dir, strings.Fields(line)...)
		if n := strings.Count(g.Log.String(), "everything runs as root"); n != want {
			t.Errorf("%s: told %d times: %s", line, n, &g.Log)
		}
		if code, stdout, stderr := once(t, dir, append([]string{"-t"}, strings.Fields(line)...)...); code != 0 || stderr != "" {
			t.Errorf("-t %s: %d %s %s", line, code, stdout, stderr)
		}
		g.Stop(syscall.SIGTERM)
	}
}

// What the user of a mount's adapter cannot use is said at the start and by -t.
func TestWhatTheUserOfAnAdapterCannotUseIsSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run adapters as other users")
	}
	dir := nobodys(t, map[string]string{
		"closed/lib/": "", "app.psgi": "sub { [200, [], []] }",
		"site.yaml": "listen: 127.0.0.1:0\nmounts:\n  - {path: /, psgi: {app: app.psgi, lib: closed/lib}, workers: 1, isolate: {user: 61001, group: 61001}}\n",
	})
	for name, mode := range map[string]os.FileMode{".": 0o755, "closed": 0o700, "app.psgi": 0o644} {
		if err := os.Chown(filepath.Join(dir, name), 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	want := "psgi.lib: user 61001 cannot read " + filepath.Join(dir, "closed/lib") + ": permission denied; it is needed for requests"
	code, _, stderr := once(t, dir, "-t", "-c", "site.yaml")
	if code != 0 || strings.Count(stderr, "61001") != 1 || !strings.Contains(stderr, want) {
		t.Errorf("-t: %d %s", code, stderr)
	}
	code, _, stderr = once(t, dir, "-c", "site.yaml")
	if code != 1 || !strings.Contains(stderr, want) || strings.Contains(stderr, "everything runs as root") {
		t.Errorf("the start, which Perl refuses: %d %s", code, stderr)
	}
}
