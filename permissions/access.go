package permissions

import "fmt"

// Access is what a user may do with a room or a store. A greater access is stronger and
// includes the weaker ones: compare with < and >=. The zero value is [None].
type Access uint8

// The three kinds of access, weakest first.
const (
	None Access = iota
	Read
	Full
)

var accessTexts = [...]string{None: "none", Read: "read", Full: "full"}

// ParseAccess reads "none", "read" or "full", as [Access.String] writes them. Any other
// text is an error.
func ParseAccess(text string) (Access, error) {
	for a := None; a <= Full; a++ {
		if a.String() == text {
			return a, nil
		}
	}
	return None, fmt.Errorf("permissions: access %s is not none, read or full", quote(text))
}

// String returns "none", "read" or "full".
func (a Access) String() string {
	if int(a) < len(accessTexts) {
		return accessTexts[a]
	}
	return fmt.Sprintf("Access(%d)", uint8(a))
}

// MarshalText returns the result of String, or an error for a value that is not one of the
// constants.
func (a Access) MarshalText() ([]byte, error) {
	if int(a) < len(accessTexts) {
		return []byte(accessTexts[a]), nil
	}
	return nil, fmt.Errorf("permissions: %s is no access", a)
}

// UnmarshalText accepts what [ParseAccess] accepts. An error leaves a unchanged.
func (a *Access) UnmarshalText(text []byte) error {
	parsed, err := ParseAccess(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}
