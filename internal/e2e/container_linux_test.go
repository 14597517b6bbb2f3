package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// containersVariable asks for TestContainers, which takes some minutes and Debian's packages from the network.
const containersVariable = "CONTAINERS"

// TestContainers builds the images of packaging/Containerfile and of docs/deploy.md by the commands of docs/install.md and docs/deploy.md, and runs
// them. buildah stands for podman. The images that they begin with, Debian's and Go's, are made by debootstrap and of this machine's Go.
func TestContainers(t *testing.T) {
	if os.Getenv(containersVariable) != "build" {
		t.Skipf("it takes minutes: set %s=build", containersVariable)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can build an image with files of several users")
	}
	for tool, debian := range map[string]string{"buildah": "buildah", "debootstrap": "debootstrap", "carton": "carton", "make": "make",
		"curl": "curl", "ip": "iproute2", "nsenter": "util-linux", "starman": "starman"} {
		testkit.Tool(t, tool, debian)
	}
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t)
	e.baseImages()

	e.build(repository, filepath.Join(root, "docs/install.md"))
	c := e.run("pagi-bridge")
	if got := c.get("/"); !strings.Contains(got, "pagi-bridge is running") {
		t.Errorf("the first page: %s", got)
	}
	c.checkHealth()
	c.stop()

	deploy := filepath.Join(root, "docs/deploy.md")
	dir := t.TempDir()
	page := newReader(t, dir)
	page.env = []string{"PERL_CARTON_MIRROR=file://" + e.mirror, "HOME=" + t.TempDir()}
	page.read(deploy, 3)
	e.build(filepath.Join(dir, "source"), deploy)
	c = e.run("shop")
	if got, want := c.get("/"), "release 2 from the local library\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	c.checkHealth()
	for _, file := range []string{"usr/bin/make", "usr/bin/carton", "srv/site/Containerfile"} {
		if _, err := os.Lstat(filepath.Join(c.root, file)); err == nil {
			t.Errorf("the image has %s", file)
		}
	}
	c.stop()
}

// engine builds and runs images that it keeps in a directory of the test.
type engine struct {
	t      *testing.T
	dir    string
	mirror string   // of CPAN
	store  []string // options of buildah that name where images are
}

func newEngine(t *testing.T) *engine {
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, dir: dir, mirror: cpan(t)}
	e.store = []string{"--root", filepath.Join(dir, "images"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
	t.Cleanup(func() {
		e.buildah("rm", "--all")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e.write("policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	return e
}

func (e *engine) write(name, text string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o755); err != nil {
		e.t.Fatal(err)
	}
}

// output runs a command that must succeed, and returns its output.
func (e *engine) output(cmd *exec.Cmd) string {
	e.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

func (e *engine) buildah(args ...string) string {
	e.t.Helper()
	return strings.TrimSpace(e.output(exec.Command("buildah", append(e.store[:len(e.store):len(e.store)], args...)...)))
}

// goEnv is what Go on this machine has for a variable.
func (e *engine) goEnv(name string) string {
	e.t.Helper()
	return strings.TrimSpace(e.output(exec.Command("go", "env", name)))
}

// baseImages makes the images that container files begin with.
func (e *engine) baseImages() {
	e.t.Helper()
	base := filepath.Join(e.dir, "base")
	e.output(exec.Command("debootstrap", "--variant=minbase", "bookworm", base))
	goRoot := e.goEnv("GOROOT")
	e.write("debian", "FROM scratch\nADD base /\nCMD [\"bash\"]\n")
	e.write("golang", "FROM debian:bookworm-slim\nADD go /usr/local/go\nENV GOPATH=/go GOTOOLCHAIN=local SSL_CERT_FILE=/ca.pem GOPROXY="+e.goEnv("GOPROXY")+"\nENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"+
		"WORKDIR /go\n")
	version := strings.Join(strings.Split(strings.TrimPrefix(runtime.Version(), "go"), ".")[:2], ".")
	for _, image := range []struct{ file, from, context, name string }{
		{"debian", base, e.dir, "docker.io/library/debian:bookworm-slim"},
		{"golang", goRoot, filepath.Dir(goRoot), "docker.io/library/golang:" + version + "-bookworm"},
	} {
		e.buildah("build", "--isolation", "chroot", "--signature-policy", filepath.Join(e.dir, "policy.json"), "--pull-never",
			"-t", image.name, "-f", filepath.Join(e.dir, image.file), image.context)
	}
	if err := os.RemoveAll(base); err != nil {
		e.t.Fatal(err)
	}
}

// build runs the one line of a page that builds an image, in a directory. Go has the caches and the authorities
// of this machine there, and carton has the mirror of the test.
func (e *engine) build(dir, page string) {
	e.t.Helper()
	lines := regexp.MustCompile(`(?m)^podman build .*$`).FindAllString(readPage(e.t, page), -1)
	if len(lines) != 1 {
		e.t.Fatalf("%s builds images by %q, want one line", page, lines)
	}
	e.write("podman", fmt.Sprintf("#!/bin/sh\nshift\nexec buildah %s build --isolation chroot --signature-policy %s/policy.json --pull-never \\\n"+
		"  --volume %s:/root/.cache/go-build --volume %s:/go/pkg/mod --volume /etc/ssl/certs/ca-certificates.crt:/ca.pem:ro \\\n"+
		"  --volume %s:/cpan:ro --env PERL_CARTON_MIRROR=file:///cpan \"$@\"\n",
		strings.Join(e.store, " "), e.dir, e.goEnv("GOCACHE"), e.goEnv("GOMODCACHE"), e.mirror))
	cmd := exec.Command("sh", "-c", lines[0])
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+e.dir+":"+os.Getenv("PATH"))
	e.output(cmd)
}

// container is a running one.
type container struct {
	t       *testing.T
	root    string // its root directory
	config  imageConfig
	program *testkit.Program
	pid     int // of its process 1, as seen from here
}

// imageConfig is what an image says of how it is run.
type imageConfig struct {
	User, WorkingDir     string
	Env, Entrypoint, Cmd []string
	Healthcheck          struct{ Test []string }
}

// inContainer runs a command in a root directory as process 1, with a network of its own.
const inContainer = `set -e
root=$1 user=$2; shift 2
ip link set lo up
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot --userspec="$user:$user" "$root" env -i "$@" 1>&2`

// run starts a container of an image as the image says.
func (e *engine) run(image string) *container {
	e.t.Helper()
	c := &container{t: e.t}
	text := e.buildah("inspect", "--type", "image", image)
	var about struct{ Docker struct{ Config imageConfig } }
	if err := json.Unmarshal([]byte(text), &about); err != nil {
		e.t.Fatalf("%v in %s", err, text)
	}
	c.config = about.Docker.Config
	c.root = e.buildah("mount", e.buildah("from", "--pull-never", "--signature-policy", filepath.Join(e.dir, "policy.json"), image))
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "--net", "sh", "-c", inContainer, "sh", c.root, c.config.User, "-C", c.config.WorkingDir}
	args = append(append(append(args, c.config.Env...), c.config.Entrypoint...), c.config.Cmd...)
	c.program = testkit.Start(e.t, exec.Command("unshare", args...))
	children := fmt.Sprintf("/proc/%d/task/%[1]d/children", c.program.Process.Pid)
	child, err := os.ReadFile(children)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(child), &c.pid); err != nil {
		e.t.Fatalf("%s: %v", children, err)
	}
	return c
}

// within runs a command in some of the container's namespaces, and returns its output.
func (c *container) within(options []string, command ...string) string {
	c.t.Helper()
	args := append(append([]string{"--target", fmt.Sprint(c.pid)}, options...), command...)
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%q: %v\n%s\nlog of the container:\n%s", command, err, out, &c.program.Log)
	}
	return string(out)
}

// get returns what the container serves at its port 5000.
func (c *container) get(path string) string {
	c.t.Helper()
	return c.within([]string{"--net"}, "curl", "-sS", "http://127.0.0.1:5000"+path)
}

// checkHealth runs the health check of the image.
func (c *container) checkHealth() {
	c.t.Helper()
	test := c.config.Healthcheck.Test
	if len(test) < 2 || test[0] != "CMD" {
		c.t.Fatalf("the health check is %q", test)
	}
	options := []string{"--mount", "--pid", "--net", "--root"}
	if out := c.within(options, append([]string{"env", "-i", "-C", c.config.WorkingDir}, append(c.config.Env, test[1:]...)...)...); out != "ready\n" {
		c.t.Errorf("the health check says %q", out)
	}
}

// stop ends the container as an engine does, with a TERM for its process 1.
func (c *container) stop() {
	c.t.Helper()
	if err := syscall.Kill(c.pid, syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	if code := c.program.Wait(); code != 0 {
		c.t.Errorf("it ended with code %d:\n%s", code, &c.program.Log)
	}
}
