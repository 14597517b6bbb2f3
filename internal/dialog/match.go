package dialog

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Match compares JSON with a pattern. A pattern is JSON in which the string "*" stands for any value. An
// object must have the names of the pattern and no others. The error says where the two differ.
func Match(pattern, got []byte) error {
	var want, have any
	if err := json.Unmarshal(pattern, &want); err != nil {
		return fmt.Errorf("the pattern is not JSON: %w", err)
	}
	if err := json.Unmarshal(got, &have); err != nil {
		return fmt.Errorf("%q is not JSON: %w", got, err)
	}
	return match("value", want, have)
}

func match(at string, want, have any) error {
	switch want := want.(type) {
	case string:
		if want == "*" {
			return nil
		}
	case map[string]any:
		object, ok := have.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, want an object", at, have)
		}
		for name := range object {
			if _, ok := want[name]; !ok {
				return fmt.Errorf("%s has %q, which is not expected", at, name)
			}
		}
		for name, value := range want {
			if _, ok := object[name]; !ok {
				return fmt.Errorf("%s has no %q", at, name)
			}
			if err := match(at+"."+name, value, object[name]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Errorf("%s is %v, want a list of %d", at, have, len(want))
		}
		for i := range want {
			if err := match(fmt.Sprintf("%s[%d]", at, i), want[i], list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if !reflect.DeepEqual(want, have) {
		return fmt.Errorf("%s is %v, want %v", at, have, want)
	}
	return nil
}
