package main

import (
	"encoding"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// optional binds a flag to a pointer that stays nil when the flag is not given.
func optional[T any](f *pflag.FlagSet, dst **T, name, usage string) {
	f.Func(name, usage, func(s string) error {
		var v T
		switch p := any(&v).(type) {
		case encoding.TextUnmarshaler:
			if err := p.UnmarshalText([]byte(s)); err != nil {
				return err
			}
		case *string:
			*p = s
		default:
			return fmt.Errorf("no flag can hold %T", v)
		}
		*dst = &v
		return nil
	})
}

// optionalBool binds --name and --no-name style switches: value is what the flag
// means when it is given.
func optionalBool(f *pflag.FlagSet, dst **bool, name string, value bool, usage string) {
	f.BoolFunc(name, usage, func(s string) error {
		given, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("must be true or false")
		}
		v := given == value
		*dst = &v
		return nil
	})
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1_000_000 {
		return 0, errors.New("must be a number from 0 to 1000000")
	}
	return n, nil
}
