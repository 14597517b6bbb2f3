package site

import (
	"slices"
	"strconv"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

type user struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// api is the part below /api. It knows nothing of where it is mounted.
type api struct {
	mu    sync.Mutex
	users []user
}

func newAPI() pagi.App {
	a := &api{users: []user{{1, "Alice", "alice@example.com"}, {2, "Bob", "bob@example.com"}}}
	r := &endpoint.Router{}
	all := r.With(counted)
	all.Get("/info", info)
	all.Get("/users", a.list)
	all.Get("/users/{id}", a.show)
	all.Post("/users", a.add)
	return r
}

func info(c *endpoint.Context) (*response.Response, error) {
	config, _ := request.State[config](c.Request, "config")
	return response.JSON(map[string]string{"app": config.AppName, "version": config.Version, "api": "v1"}), nil
}

func (a *api) list(*endpoint.Context) (*response.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return response.JSON(slices.Clone(a.users)), nil
}

func (a *api) show(c *endpoint.Context) (*response.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, err := strconv.Atoi(c.Param("id"))
	i := slices.IndexFunc(a.users, func(u user) bool { return u.ID == id })
	if err != nil || i < 0 {
		return response.JSON(map[string]string{"error": "User not found"}).Status(404), nil
	}
	return response.JSON(a.users[i]), nil
}

func (a *api) add(c *endpoint.Context) (*response.Response, error) {
	var u user
	if err := c.JSON(&u); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u.ID = len(a.users) + 1
	a.users = append(a.users, u)
	return response.JSON(u).Status(201), nil
}
