package request_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

type address struct {
	Street string `form:",required"`
	Zip    int
}

type paging struct {
	Page int `form:"page,default=1"`
}

type order struct {
	paging
	Name     string        `form:"name,required"`
	Amount   uint8         `form:"amount"`
	Price    float64       `form:"price"`
	Gift     bool          `form:"gift"`
	Tags     []string      `form:"tag"`
	Sizes    []int         `form:"size"`
	When     time.Time     `form:"when"`
	Wait     time.Duration `form:"wait"`
	From     netip.Addr    `form:"from"`
	Note     *string       `form:"note"`
	UserID   int64
	To       address `form:"to"`
	Greeting string  `form:"greeting,default=Hello, world"`
	Secret   string  `form:"-"`
	hidden   string
}

func TestDecodeFillsAStruct(t *testing.T) {
	var got order
	values := request.ParseValues("name=Ann&amount=255&price=1.5&gift=on&tag=a&tag=&size=1&size=-2&when=2026-02-03T04:05&wait=90s&from=192.0.2.1&note=&user_id=7&to.street=Main+St&to.zip=&Secret=x&-=y&hidden=z&page=")
	if err := request.Decode(values, &got); err != nil {
		t.Fatal(err)
	}
	want := order{
		paging: paging{Page: 1}, Name: "Ann", Amount: 255, Price: 1.5, Gift: true, Tags: []string{"a", ""}, Sizes: []int{1, -2},
		When: time.Date(2026, 2, 3, 4, 5, 0, 0, time.UTC), Wait: 90 * time.Second, From: netip.MustParseAddr("192.0.2.1"),
		UserID: 7, To: address{Street: "Main St"}, Greeting: "Hello, world",
	}
	if got.hidden != "" {
		t.Error("an unexported field is set")
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(order{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeNamesEveryWrongField(t *testing.T) {
	var got order
	err := request.Decode(request.ParseValues("amount=256&price=NaN&gift=perhaps&size=1&size=x&when=yesterday&wait=soon&from=nowhere&user_id=1.5&page=999999999999999999999"), &got)
	var wrong request.FieldErrors
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	problems := map[string]string{}
	for _, field := range wrong {
		problems[field.Name+"="+field.Value] = field.Problem
	}
	want := map[string]string{
		"page=999999999999999999999": "is too large or too small",
		"name=":                      "is missing",
		"amount=256":                 "is too large or too small",
		"price=NaN":                  "must be a number",
		"gift=perhaps":               "must be true or false",
		"size=x":                     "must be a whole number",
		"when=yesterday":             "must be a date or a time such as 2006-01-02 or 2006-01-02T15:04:05Z",
		"wait=soon":                  "must be a duration such as 90s or 1h30m",
		"from=nowhere":               "is not valid",
		"user_id=1.5":                "must be a whole number",
		"to.street=":                 "is missing",
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
	var status *pagi.StatusError
	if !errors.As(err, &status) || status.Status != 422 || !strings.Contains(status.Message, "name: is missing") {
		t.Errorf("%+v", status)
	}
	var field *request.FieldError
	if !errors.As(err, &field) || field.Name != "page" {
		t.Errorf("the first field: %+v", field)
	}
}

func TestDecodeStrictRefusesWhatHasNoField(t *testing.T) {
	var got struct {
		A string
		B []string
	}
	if err := request.DecodeStrict(request.ParseValues("a=1&b=1&b=2"), &got); err != nil {
		t.Error(err)
	}
	err := request.DecodeStrict(request.ParseValues("a=1&a=2&c=3&c=4"), &got)
	if err == nil || err.Error() != "a: is given more than once; c: is not known" {
		t.Errorf("%v", err)
	}
}

func TestDecodePanicsOnMistakesInTheProgram(t *testing.T) {
	for name, dst := range map[string]any{
		"no pointer":    address{},
		"a nil pointer": (*address)(nil),
		"no struct":     new(int),
		"a map":         &struct{ M map[string]string }{},
		"an unknown word": &struct {
			A string `form:"a,requird"`
		}{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			_ = request.Decode(request.ParseValues("m=1&a=1"), dst)
		}()
	}
}

func TestTypedValues(t *testing.T) {
	values := request.ParseValues("n=7&n=8&e=&x=abc")
	if n, err := request.Value[int](values, "n"); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := request.Value[int](values, "none"); err == nil || err.Error() != "none: is missing" {
		t.Errorf("%v", err)
	}
	if _, err := request.Value[int](values, "e"); err == nil {
		t.Error("an empty number")
	}
	if n, err := request.ValueOr(values, "e", 3); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := request.ValueOr(values, "x", 3); err == nil {
		t.Error("a malformed number is replaced")
	}
	if all, err := request.AllValues[uint](values, "n"); err != nil || len(all) != 2 || all[1] != 8 {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := request.AllValues[uint](values, "x"); err == nil {
		t.Error("a malformed number in a list")
	}
	if all, err := request.AllValues[uint](values, "none"); len(all) != 0 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
}
