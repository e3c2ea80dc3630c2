package main

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

var (
	durationForm = regexp.MustCompile(`^([0-9]+w)?([0-9]+d)?([0-9].*)?$`)
	longUnits    = map[byte]time.Duration{'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour}
)

// parseDuration is time.ParseDuration with weeks and days of 24 hours in front: 2w, 90d,
// 1d12h.
func parseDuration(text string) (time.Duration, error) {
	unsigned, negative := strings.CutPrefix(text, "-")
	match := durationForm.FindStringSubmatch(unsigned)
	if match == nil || unsigned == "" {
		return 0, fmt.Errorf("invalid duration %q: write it as 90d, 2w, 12h, 5m or 1d12h", text)
	}
	var sum time.Duration
	for _, part := range match[1:3] {
		if part == "" {
			continue
		}
		unit := longUnits[part[len(part)-1]]
		n, err := strconv.ParseInt(part[:len(part)-1], 10, 64)
		if err != nil || n > int64((math.MaxInt64-sum)/unit) {
			return 0, fmt.Errorf("duration %q is too long", text)
		}
		sum += time.Duration(n) * unit
	}
	if match[3] != "" {
		rest, err := time.ParseDuration(match[3])
		if err != nil {
			return 0, fmt.Errorf("invalid duration %q: write it as 90d, 2w, 12h, 5m or 1d12h", text)
		}
		if rest > math.MaxInt64-sum {
			return 0, fmt.Errorf("duration %q is too long", text)
		}
		sum += rest
	}
	if negative {
		sum = -sum
	}
	return sum, nil
}

// decodeDuration reads every flag with a duration.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := parseDuration(text)
	if err != nil {
		return err
	}
	target.SetInt(int64(d))
	return nil
}
