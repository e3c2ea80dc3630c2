package permissions

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxUnits is the maximum length of an id in UTF-16 code units, as JavaScript and therefore
// Liveblocks count.
const maxUnits = 128

const tooLong = "is longer than 128 UTF-16 units"

// Kind distinguishes rooms and stores. A pattern has one kind and never matches an id of the
// other. The zero value is not a kind and is refused everywhere.
type Kind uint8

// The two kinds of resource.
const (
	RoomKind Kind = iota + 1
	StoreKind
)

// ParseKind reads "room" or "store", as [Kind.String] writes them. Any other text is an
// error.
func ParseKind(text string) (Kind, error) {
	switch text {
	case "room":
		return RoomKind, nil
	case "store":
		return StoreKind, nil
	}
	return 0, fmt.Errorf("permissions: kind %s is not room or store", quote(text))
}

// String returns "room" or "store".
func (k Kind) String() string {
	switch k {
	case RoomKind:
		return "room"
	case StoreKind:
		return "store"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// separators returns the characters that end a segment in ids of the kind.
func (k Kind) separators() string {
	if k == StoreKind {
		return "_"
	}
	return ":/."
}

// separatorNames lists the separators, for an error.
func (k Kind) separatorNames() string {
	if k == StoreKind {
		return "'_'"
	}
	return "':', '/' or '.'"
}

// Resource names one room or one store.
type Resource struct {
	Kind Kind
	ID   string
}

// Room names a room. It does not check the id: see [CheckID].
func Room(id string) Resource { return Resource{RoomKind, id} }

// Store names a store. It does not check the id: see [CheckID].
func Store(id string) Resource { return Resource{StoreKind, id} }

// IDError says why a text is not an id. Its message quotes only the start of a long text.
type IDError struct {
	Kind   Kind
	ID     string
	Reason string // completes the sentence "the id ...", for instance "is empty"
}

func (e *IDError) Error() string {
	return fmt.Sprintf("permissions: %s id %s %s", e.Kind, quote(e.ID), e.Reason)
}

// CheckID returns an [*IDError] unless id is a valid id of a room or a store. An id is valid
// UTF-8 of 1 to 128 UTF-16 code units without '*' and control characters (C0, DEL, C1). A
// store's id may contain only what LiveStore accepts: A-Z, a-z, 0-9, '_' and '-'.
func CheckID(kind Kind, id string) error {
	if fault := idFault(kind, id); fault != "" {
		return &IDError{kind, id, fault}
	}
	return nil
}

func idFault(kind Kind, id string) string {
	units, fault := measure(kind, id)
	if fault == "" && units == 0 {
		fault = "is empty"
	}
	return fault
}

// measure counts the UTF-16 code units of text. It also returns which rule for ids the text
// breaks; an empty text is not checked here.
func measure(kind Kind, text string) (units int, fault string) {
	switch {
	case kind != RoomKind && kind != StoreKind:
		return 0, "is of no known kind"
	case len(text) > 3*maxUnits: // a unit takes at most three bytes of UTF-8
		return 0, tooLong
	case !utf8.ValidString(text):
		return 0, "is not valid UTF-8"
	}
	for _, r := range text {
		switch {
		case r == '*':
			return 0, "contains a '*', which is allowed only at the end of a pattern"
		case unicode.IsControl(r):
			return 0, "contains a control character"
		case kind == StoreKind && !inStoreID(r):
			return 0, "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"
		}
		units += utf16.RuneLen(r)
	}
	if units > maxUnits {
		return 0, tooLong
	}
	return units, ""
}

func inStoreID(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
}

// quote quotes text for a message, so that the message stays on one short line.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}
