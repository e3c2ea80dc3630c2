package main

import (
	"context"
	"errors"
	"fmt"
)

type tokenVerifyCmd struct{ keySourceFlags }

func (c *tokenVerifyCmd) Run(ctx context.Context, out *console) error {
	i, err := c.check(ctx, out.in)
	if err != nil {
		return err
	}
	switch {
	case i.KeysFrom == "":
		return errors.New("no keys to verify the token with: give --url, --jwks or --database-url")
	case !*i.Valid:
		return errors.New(i.verdict())
	}
	fmt.Fprintln(out.out, i.verdict())
	return nil
}
