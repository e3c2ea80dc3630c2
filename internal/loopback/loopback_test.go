package loopback_test

import (
	"testing"

	"github.com/usher-auth/usher/internal/loopback"
)

func TestIsHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost":            true,
		"LocalHost":            true,
		"localhost.":           true,
		"auth.localhost":       true,
		"127.0.0.1":            true,
		"127.8.8.8":            true,
		"::1":                  true,
		"::ffff:127.0.0.1":     true,
		"":                     false,
		".":                    false,
		"localhost.evil.test":  false,
		"evil-localhost":       false,
		"notlocalhost":         false,
		"127.0.0.1.evil.test":  false,
		"0.0.0.0":              false,
		"::":                   false,
		"10.0.0.1":             false,
		"192.168.0.1":          false,
		"::ffff:10.0.0.1":      false,
		"2130706433":           false, // 127.0.0.1 as some programs write it
		"0x7f000001":           false,
		"017700000001":         false,
		"127.1":                false,
		"auth.example.com":     false,
		"localhost:8080":       false, // with a port it is no host
		"[::1]":                false,
		"ⓛocalhost":            false,
		"auth.localhost.local": false,
	} {
		if got := loopback.IsHost(host); got != want {
			t.Errorf("IsHost(%q) = %t, want %t", host, got, want)
		}
	}
}
