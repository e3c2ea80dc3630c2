package identity

// RefusePrivate is what looks at each address that keys are fetched from.
func RefusePrivate(address string) error { return refusePrivate("tcp", address, nil) }

// RefuseOutside is the same for addresses over http.
func RefuseOutside(address string) error { return refuseOutside("tcp", address, nil) }
