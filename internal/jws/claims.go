package jws

import (
	"slices"
	"time"

	"github.com/usher-auth/usher/internal/strictjson"
)

const maxDate = 253402300799 // the last second of the year 9999

// Text returns the string value of a member, and whether it is a string.
func Text(m strictjson.Members, name string) (string, bool) {
	v, _ := m.Get(name)
	return v.Text()
}

// Includes reports whether aud, a string or an array of strings, has one of the names.
func Includes(aud strictjson.Value, names ...string) bool {
	if s, ok := aud.Text(); ok {
		return slices.Contains(names, s)
	}
	list, _ := aud.Elements()
	found := false
	for _, e := range list {
		s, ok := e.Text()
		if !ok {
			return false
		}
		found = found || slices.Contains(names, s)
	}
	return found
}

// Date returns a NumericDate (RFC 7519, section 2), and whether it is a date in the years
// 1970 to 9999. It may have a fraction.
func Date(payload strictjson.Members, name string) (time.Time, bool) {
	v, _ := payload.Get(name)
	seconds, ok := v.Float64()
	if !ok || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true
}
