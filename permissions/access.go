package permissions

import "fmt"

// Access is what a user may do with a room or a store. Greater is stronger,
// and includes the weaker: compare with < and >=. The zero value is [None].
type Access uint8

// The three kinds of access, weakest first.
const (
	None Access = iota
	Read
	Full
)

var accessTexts = [...]string{None: "none", Read: "read", Full: "full"}

// ParseAccess reads what [Access.String] writes: "none", "read" or "full",
// and nothing else.
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

// MarshalText returns what String returns, or an error for a value that is
// none of the constants.
func (a Access) MarshalText() ([]byte, error) {
	if int(a) < len(accessTexts) {
		return []byte(accessTexts[a]), nil
	}
	return nil, fmt.Errorf("permissions: %s is no access", a)
}

// UnmarshalText accepts what [ParseAccess] accepts. After an error a is as it was.
func (a *Access) UnmarshalText(text []byte) error {
	parsed, err := ParseAccess(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}
