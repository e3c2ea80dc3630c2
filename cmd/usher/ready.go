package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// readyCmd is the health check for containers without a shell and curl.
type readyCmd struct {
	OpsURL string `env:"USHER_OPS_URL" default:"http://127.0.0.1:9090" help:"URL of the operators' listener."`
}

func (c *readyCmd) Run(ctx context.Context, out *console) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.OpsURL+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("--ops-url: %w", err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", body)
	}
	fmt.Fprintln(out.out, "ready")
	return nil
}
