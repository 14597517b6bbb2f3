package control_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	processes "github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// frozen is the protocol as its version 1 was first released. It must not be changed.
func frozen(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "version1.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	file, err := files.FindFileByPath("plugin.proto")
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Whatever version 1 had is there, with the same number and the same type. There may be more.
func TestTheProtocolOnlyGrows(t *testing.T) {
	old, now := frozen(t), pluginpb.File_plugin_proto
	for i := range old.Messages().Len() {
		before := old.Messages().Get(i)
		after := now.Messages().ByName(before.Name())
		if after == nil {
			t.Errorf("the message %s is gone", before.Name())
			continue
		}
		for j := range before.Fields().Len() {
			f := before.Fields().Get(j)
			g := after.Fields().ByNumber(f.Number())
			if g == nil || g.Name() != f.Name() || g.Kind() != f.Kind() || g.Cardinality() != f.Cardinality() {
				t.Errorf("the field %s is another one", f.FullName())
			}
		}
	}
	for i := range old.Enums().Len() {
		before := old.Enums().Get(i)
		for j := range before.Values().Len() {
			v := before.Values().Get(j)
			if w := now.Enums().ByName(before.Name()).Values().ByNumber(v.Number()); w == nil || w.Name() != v.Name() {
				t.Errorf("the value %s is another one", v.FullName())
			}
		}
	}
	before, after := old.Services().Get(0), now.Services().Get(0)
	if before.FullName() != after.FullName() {
		t.Errorf("the service is called %s", after.FullName())
	}
	for i := range before.Methods().Len() {
		m := before.Methods().Get(i)
		n := after.Methods().ByName(m.Name())
		if n == nil || n.Input().FullName() != m.Input().FullName() || n.Output().FullName() != m.Output().FullName() ||
			n.IsStreamingClient() != m.IsStreamingClient() || n.IsStreamingServer() != m.IsStreamingServer() {
			t.Errorf("the call %s is another one", m.Name())
		}
	}
}

// plain is an adapter that does what is asked, and keeps what it was told.
type plain struct {
	server    *control.Server
	directory string
}

func (p *plain) Describe() *pluginpb.DescribeResponse {
	return &pluginpb.DescribeResponse{Name: "plain", Version: "1", Kinds: []string{"app"}}
}

func (p *plain) Configure(_ context.Context, r *pluginpb.ConfigureRequest) []*pluginpb.FieldError {
	p.directory = r.Directory
	if strings.Contains(string(r.Mounts[0].Options), "bad") {
		return []*pluginpb.FieldError{{Mount: r.Mounts[0].Id, Field: "bad", Message: "is bad"}}
	}
	return nil
}

func (p *plain) Start(context.Context) error {
	p.server.Board.Put(&pluginpb.Endpoint{Mount: "1", Id: "e", State: pluginpb.EndpointState_ENDPOINT_STATE_SERVING})
	return nil
}

func (p *plain) Reload(context.Context, string) error { return nil }
func (p *plain) Drain()                               {}
func (p *plain) Stop(context.Context) error           { return nil }
func (p *plain) Status() map[string]processes.Backend {
	return map[string]processes.Backend{"1": {Generation: 3}}
}

// serve serves a control plane in this process, and returns a connection to it.
func serve(t *testing.T, server pluginpb.PluginServer) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pluginpb.RegisterPluginServer(s, server)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// oldClient calls by the frozen descriptor alone.
type oldClient struct {
	t    *testing.T
	conn *grpc.ClientConn
	file protoreflect.FileDescriptor
}

func (c *oldClient) message(name, text string) *dynamicpb.Message {
	c.t.Helper()
	m := dynamicpb.NewMessage(c.file.Messages().ByName(protoreflect.Name(name)))
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// call returns the answer in JSON.
func (c *oldClient) call(method, request string) string {
	c.t.Helper()
	in := c.message(method+"Request", request)
	in.SetUnknown(protowire.AppendTag(nil, 1000, protowire.VarintType)) // a field of a later version
	in.SetUnknown(protowire.AppendVarint(in.GetUnknown(), 1))
	out := c.message(method+"Response", "{}")
	if err := c.conn.Invoke(c.t.Context(), "/pagi.plugin.v1.Plugin/"+method, in, out); err != nil {
		return err.Error()
	}
	text, err := protojson.Marshal(out)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), " ", "")
}

// A gateway of version 1, which knows only the frozen descriptor, works with a plugin of today. A field of a later version
// is ignored on either side.
func TestAnOldGateway(t *testing.T) {
	p := &plain{}
	p.server = &control.Server{Adapter: p}
	c := &oldClient{t, serve(t, p.server), frozen(t)}
	for _, step := range []struct{ method, request, want string }{
		{"Start", `{}`, "Start comes once"},
		{"Describe", `{"leastProtocol":1,"mostProtocol":1}`, `"name":"plain"`},
		{"Describe", `{"leastProtocol":9,"mostProtocol":9}`, "it speaks the versions 9 of the plugin protocol, and this side speaks 1"},
		{"Configure", `{"mounts":[{"id":"1","kind":"app","options":"eyJiYWQiOjF9"}],"directory":"/d"}`, `"field":"bad"`},
		{"Start", `{}`, "Start comes once"},
		{"Configure", `{"mounts":[{"id":"1","kind":"app"},{"id":"1","kind":"app"}]}`, "each mount needs an id of its own"},
		{"Configure", `{"mounts":[{"id":"1","kind":"app","options":"e30="}],"directory":"/d"}`, `{}`},
		{"Start", `{}`, `{}`},
		{"Start", `{}`, "Start comes once"},
		{"Reload", `{"mount":"1"}`, `{}`},
		{"Resize", `{"mount":"1","change":1}`, "cannot be changed"},
		{"Release", `{"mount":"1","endpoint":"e"}`, "relieves no endpoints"},
		{"Drain", `{}`, `{}`},
		{"Stop", `{"graceMs":10}`, `{}`},
		{"Stop", `{"graceMs":10}`, `{}`},
		{"Reload", `{"mount":"1"}`, "the plugin is not started"},
	} {
		if got := c.call(step.method, step.request); !strings.Contains(got, step.want) {
			t.Errorf("%s %s: %s, want %s", step.method, step.request, got, step.want)
		}
	}
	if p.directory != "/d" {
		t.Errorf("the directory is %q", p.directory)
	}
}

// A plugin of version 1 that has only the calls that are required works with a gateway of today: it refuses the others with
// words.
func TestAnOldPlugin(t *testing.T) {
	rpc := pluginpb.NewPluginClient(serve(t, struct {
		pluginpb.UnimplementedPluginServer
	}{}))
	_, err := rpc.Reload(t.Context(), &pluginpb.ReloadRequest{})
	if !control.Missing(err) || status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestStreams(t *testing.T) {
	p := &plain{}
	p.server = &control.Server{Adapter: p}
	rpc := pluginpb.NewPluginClient(serve(t, p.server))
	p.server.Book.Logger("1").With("a", 1).WithGroup("g").Info("hello", "b", true)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	endpoints, err := rpc.Endpoints(t.Context(), &pluginpb.EndpointsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := endpoints.Recv(); err != nil || !r.Complete || len(r.Endpoints) != 1 || r.Endpoints[0].Id != "e" {
		t.Errorf("%v %v", r, err)
	}
	p.server.Board.Put(&pluginpb.Endpoint{Mount: "1", Id: "e", State: pluginpb.EndpointState_ENDPOINT_STATE_ENDED, Exit: "signal: killed"})
	if r, err := endpoints.Recv(); err != nil || r.Complete || len(r.Endpoints) != 1 || r.Endpoints[0].Exit != "signal: killed" {
		t.Errorf("%v %v", r, err)
	}
	logs, err := rpc.Logs(t.Context(), &pluginpb.LogsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := logs.Recv()
	if err != nil || len(r.Records) != 1 || r.Records[0].Message != "hello" || len(r.Records[0].Attributes) != 2 || r.Records[0].Attributes[1].Name != "g.b" {
		t.Errorf("%v %v", r, err)
	}
	p.server.Book.Close()
	if _, err := logs.Recv(); err != io.EOF {
		t.Error(err)
	}
	now, err := rpc.Status(t.Context(), &pluginpb.StatusRequest{IntervalMs: 100})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r, err := now.Recv(); err != nil || !strings.Contains(string(r.Status), `"generation":3`) {
			t.Errorf("%v %v", r, err)
		}
	}
}

// resizing is a plain adapter with workers.
type resizing struct {
	plain
	said string
}

func (r *resizing) Release(_ context.Context, mount, endpoint string) error {
	r.said = "release " + mount + " " + endpoint
	return nil
}

func (r *resizing) Resize(_ context.Context, _ string, change int) (int, error) {
	return 5 + change, nil
}

func TestAnAdapterWithWorkers(t *testing.T) {
	k := &resizing{}
	k.server = &control.Server{Adapter: k}
	rpc := pluginpb.NewPluginClient(serve(t, k.server))
	ctx := t.Context()
	if _, err := rpc.Configure(ctx, &pluginpb.ConfigureRequest{Mounts: []*pluginpb.Mount{{Id: "1"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Start(ctx, &pluginpb.StartRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Release(ctx, &pluginpb.ReleaseRequest{Mount: "1", Endpoint: "e"}); err != nil || k.said != "release 1 e" {
		t.Errorf("%q %v", k.said, err)
	}
	if r, err := rpc.Resize(ctx, &pluginpb.ResizeRequest{Mount: "1", Change: -2}); err != nil || r.Workers != 3 {
		t.Errorf("%v %v", r, err)
	}
}
