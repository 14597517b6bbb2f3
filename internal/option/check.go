package option

import (
	"errors"
	"fmt"
)

// Wrong returns the error for an option that cannot work, which begins with its name in a site file.
func Wrong(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...))
}

// CheckSigns reports negative values of options that have no meaning for one, which the tag negative gives them.
func CheckSigns(ptr any) error {
	var errs []error
	for _, f := range Fields(ptr) {
		if f.Value.CanInt() && f.Value.Int() < 0 && f.Tag.Get("negative") == "" && !(f.IsAuto() && f.Value.Int() == Auto) {
			errs = append(errs, Wrong(f.Name, "must not be negative, is %v", f.Value.Interface()))
		}
	}
	return errors.Join(errs...)
}
