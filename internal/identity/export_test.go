package identity

// RefusePrivate is what looks at each address that keys are fetched from.
func RefusePrivate(address string) error { return refusePrivate("tcp", address, nil) }
